-- I-CAP. Not narrowed. A bound may be set below what the agent has already: nothing is given then, and nothing is taken away.
, bad as (
    select given.newest[1] as conversation,
           format('%s:%s was given %s conversations and has a capacity of %s', a.kind, a.id, given.n, a.capacity) as what
      from agent a
     cross join lateral (select count(*) as n, max(c.owner_since) as since, array_agg(c.id order by c.owner_since desc) as newest
                           from conversation c
                          where c.owner_kind = a.kind and c.owner_id = a.id and c.tenant = a.tenant and c.given) given
     where a.capacity is not null and given.n > a.capacity and given.since > a.capacity_since
    union all
    select id, format('counts as given, to %s', owner_kind) from scope where given and owner_kind not in ('ai', 'human')
)
