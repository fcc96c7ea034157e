select conversation, what, count(*) over () from bad order by conversation, what limit 100
