-- $1 limit. The earliest of a conversation's deadlines decides; an offer or a request expires before a silence hands back.
select id, tenant, epoch,
       case when least(offer_until, request_until) <= now() then 'expire' else 'handback' end
  from conversation
 where least(offer_until, request_until, silence_until) is not null and least(offer_until, request_until, silence_until) <= now()
 order by least(offer_until, request_until, silence_until)
 limit $1
