{#
    Check what an upsert needs of the model: an enforced contract, and a `unique_key` that is the contract's
    primary key.
    Returns {columns: [{name, type, not_null, description}], unique_key: [names]}.
#}
{% macro _upsert_contract() %}
    {% set unique_key = config.get('unique_key') %}
    {% set unique_key = [unique_key] if unique_key is string else (unique_key or []) %}
    {% set on_schema_change = config.get('on_schema_change') %}
    {% if on_schema_change not in ['append_new_columns', 'fail'] %}
        {% do exceptions.raise_compiler_error(
            "on_schema_change is '" ~ on_schema_change ~ "'; allowed are append_new_columns, fail"
        ) %}
    {% endif %}
    {% if not config.get('contract').enforced %}
        {% do exceptions.raise_compiler_error("the upsert strategy needs `contract: {enforced: true}`") %}
    {% endif %}

    {% set primary_key = [] %}
    {% set constraint_types = model.constraints | map(attribute='type') | list %}
    {% for constraint in model.constraints if constraint.type == 'primary_key' %}
        {% do primary_key.extend(constraint.columns) %}
    {% endfor %}
    {% set columns = [] %}
    {% for column in model.columns.values() %}
        {% set types = column.constraints | map(attribute='type') | list %}
        {% do constraint_types.extend(types) %}
        {% if 'primary_key' in types %}
            {% do primary_key.append(column.name) %}
        {% endif %}
        {% do columns.append({
            'name': column.name,
            'type': column.data_type,
            'not_null': 'not_null' in types,
            'description': column.description,
        }) %}
    {% endfor %}
    {% if not unique_key or unique_key | sort != primary_key | sort %}
        {% do exceptions.raise_compiler_error(
            "unique_key is " ~ unique_key ~ " and the contract's primary key " ~ primary_key
            ~ "; the upsert strategy needs them to be the same columns"
        ) %}
    {% endif %}
    {% for type in constraint_types if type not in ['primary_key', 'not_null'] %}
        {% do exceptions.raise_compiler_error(
            "the contract has a constraint of type '" ~ type ~ "'; known are primary_key, not_null"
        ) %}
    {% endfor %}
    {% set names = columns | map(attribute='name') | list %}
    {% set own = ['delete_when', 'insert_only_columns', 'unchanged_columns', 'keeps_history', 'keep_newest_rows', 'partition_by_month', 'series_key'] %}
    {# not config.get(), which warns of each name that stands under meta as it should #}
    {% for name in own + ['refresh_settings'] if model.config.get(name) %}
        {% do exceptions.raise_compiler_error(name ~ " belongs under meta: `meta: {" ~ name ~ ": ...}`") %}
    {% endfor %}
    {% set kept = _upsert_config('insert_only_columns', []) + _upsert_config('unchanged_columns', []) %}
    {% for name in kept if name not in names or name in unique_key %}
        {% do exceptions.raise_compiler_error(
            "insert_only_columns and unchanged_columns name '" ~ name ~ "'; possible are "
            ~ names | reject('in', unique_key) | join(', ')
        ) %}
    {% endfor %}
    {% if not names | reject('in', unique_key + kept) | list %}
        {% do exceptions.raise_compiler_error(
            "the upsert strategy needs a column to compare, beside the unique_key and those of insert_only_columns and "
            ~ "unchanged_columns"
        ) %}
    {% endif %}
    {% if _upsert_config('keep_newest_rows') and unique_key | length > 1 %}
        {% do exceptions.raise_compiler_error("keep_newest_rows needs a unique_key of one column, which says what is new") %}
    {% endif %}
    {% for name in _upsert_config('series_key', []) if name not in unique_key %}
        {% do exceptions.raise_compiler_error(
            "series_key names '" ~ name ~ "'; possible are the columns of the unique_key: " ~ unique_key | join(', ')
        ) %}
    {% endfor %}
    {% set partition_by = _upsert_config('partition_by_month') %}
    {% if partition_by and partition_by not in unique_key %}
        {% do exceptions.raise_compiler_error(
            "partition_by_month is '" ~ partition_by ~ "'; Postgres wants a column of the unique_key: "
            ~ unique_key | join(', ')
        ) %}
    {% endif %}
    {% do return({'columns': columns, 'unique_key': unique_key}) %}
{% endmacro %}

{#
    How the table differs from the contract: {added: [contract columns it lacks], extra: [names of columns that others
    added], misfits: whether only a rebuild makes it fit}. Raises an error if it does not fit, except in a full refresh.
#}
{% macro _contract_drift(contract, state) %}
    {% set added = [] %}
    {% set problems = [] %}
    {% for column in contract.columns %}
        {% if column.name not in state.columns %}
            {% do added.append(column) %}
            {% if column.not_null or config.get('on_schema_change') == 'fail' %}
                {% do problems.append('it lacks column ' ~ column.name ~ ' ' ~ column.type) %}
            {% endif %}
        {% elif not _same_type(state.columns[column.name]['type'], column.type) %}
            {% do problems.append(
                'column ' ~ column.name ~ ' is ' ~ state.columns[column.name]['type']
                ~ ', the contract says ' ~ column.type
            ) %}
        {% elif column.not_null and not state.columns[column.name]['not_null'] %}
            {% do problems.append('column ' ~ column.name ~ ' may be null, the contract says not null') %}
        {% endif %}
    {% endfor %}
    {% set primary_key = state.columns.values() | selectattr('in_primary_key') | map(attribute='name') | list %}
    {% if primary_key | sort != contract.unique_key | sort %}
        {% do problems.append(
            'its primary key is (' ~ primary_key | join(', ') ~ '), the contract says ('
            ~ contract.unique_key | join(', ') ~ ')'
        ) %}
    {% endif %}
    {% if problems and not should_full_refresh() %}
        {% do exceptions.raise_compiler_error(
            this ~ " does not fit the model's contract: " ~ problems | join('; ')
            ~ ". Rebuild it with --full-refresh, or change the contract."
        ) %}
    {% endif %}
    {% set extra = state.columns.keys() | reject('in', contract.columns | map(attribute='name') | list) | list %}
    {% if extra %}
        {% do exceptions.warn(this ~ ' has columns that are not the model\'s, which are left alone: ' ~ extra | join(', ')) %}
    {% endif %}
    {% do return({'added': added, 'extra': extra, 'misfits': problems | length > 0}) %}
{% endmacro %}

{# Raise an error if the names and types of a table that the model just made differ from the contract. #}
{% macro _require_contract(contract, made) %}
    {% set names = contract.columns | map(attribute='name') | list %}
    {% set problems = [] %}
    {% for column in contract.columns %}
        {% set found = made.columns.get(column.name) %}
        {% if found is none %}
            {% do problems.append('it returns no column ' ~ column.name) %}
        {% elif not _same_type(found['type'], column.type) %}
            {% do problems.append(
                'it returns ' ~ column.name ~ ' as ' ~ found['type'] ~ ', the contract says ' ~ column.type
            ) %}
        {% endif %}
    {% endfor %}
    {% for name in made.columns.keys() | reject('in', names) %}
        {% do problems.append('it returns column ' ~ name ~ ', which the contract does not know') %}
    {% endfor %}
    {% if problems %}
        {% do exceptions.raise_compiler_error(this ~ ' breaks its contract: ' ~ problems | join('; ')) %}
    {% endif %}
{% endmacro %}
