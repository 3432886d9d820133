select
    substr(part, length('segment ') + 1) as segment,
    completed_at
from {{ source('upstox', 'upstox_parts') }}
where part like 'segment %'
