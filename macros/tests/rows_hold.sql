{# Data test of a model: the rule holds for every row. A returned row breaks it, or leaves it unknown. #}
{% test rows_hold(model, rule) %}
select *
from {{ model }}
where ({{ rule }}) is not true
{% endtest %}
