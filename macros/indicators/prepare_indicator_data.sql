{#
    Hook of indicator_data: make the monthly partitions that the rows in staging need. The months are read first, since a
    partition cannot be attached to a table that the same query reads.
#}
{% macro prepare_indicator_data(landed) %}
do $prepare_indicator_data$
declare
    month date;
begin
    for month in
        select distinct date_trunc('month', timestamp at time zone 'UTC')::date from {{ landed.render() }}
    loop
        perform ops.make_month_partitions('{{ this.render() }}', month, month);
    end loop;
end
$prepare_indicator_data$
{% endmacro %}
