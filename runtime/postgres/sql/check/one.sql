-- I-ONE.
, bad as (
    select t.conversation_id as conversation,
           format('turns %s are open', string_agg(t.no::text, ', ' order by t.no)) as what
      from scope c join turn t on t.conversation_id = c.id
     where t.kind = 'ai' and t.state in ('running', 'replied', 'sending', 'ambiguous')
     group by t.conversation_id
    having count(*) > 1
    union all
    select 0, 'the index one_turn is missing, not unique or not valid'
     where not exists (select 1 from pg_index where indexrelid = to_regclass('one_turn') and indisunique and indisvalid)
)
