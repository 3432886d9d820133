{# Data test of a model: the rule holds for every row. A returned row breaks the rule, or makes it NULL. #}
{% test rows_hold(model, rule) %}
select *
from {{ model }}
where ({{ rule }}) is not true
{% endtest %}
