-- $1 tenant, $2 to $4 the place after which the list goes on: time, conversation, audit entry; $5 limit, $6 how many of the messages that
-- waited are read. What the router decided, with what unrouted.sql read then. Claims older than migration 2 name no owner and are
-- left out. Nothing was written down at the time but the audit, which holds no text: which messages waited is told from what
-- became of each.
--   pending          it waits still: it waited, if it had come by then
--   taken, done, dead   it did, if the turn that took it is of an epoch the claim began, or of a later one
--   human            it did, unless a stretch that had ended by then covers it
--   closed           it did, if the conversation was not closed between its coming and the claim
--   merged           what moved to another conversation after the claim did; what moved here after it did not
--   revoked          who can say: no index leads there, and the customer wants it not to have been written
-- Three times a message waits now, or was dealt with later, and did not wait then: the answer to it was on the wire, whose fate became
-- known later (wire); it was in a dead letter that was redriven later (lost); it moved here later. A turn takes all that
-- waits, so that the first two had all that came before their turn began.
-- Turns and stretches are told apart by epochs, which are exact. What is told by times is so but for a message that waited for the
-- lock of the conversation at that very moment.
-- "offset 0": see due_conversation.sql. From history as much is read as came since the decision, and no more, but for conversations that
-- a human had, that were closed, or merged, after it.
with d as materialized (
    select a.conversation_id, a.seq, a.at, a.detail ->> 'owner' as owner, a.reason, a.rule_version, a.state_from, a.epoch_from
      from audit a
     where a.tenant = $1 and a.verb = 'claim' and a.actor = 'router' and a.detail ? 'owner'
       and (a.at, a.conversation_id, a.seq) > ($2::timestamptz, $3::bigint, $4::bigint)
     order by a.at, a.conversation_id, a.seq
     limit $5
)
select d.conversation_id, d.seq, d.at, d.owner, d.reason, d.rule_version,
       c.tenant, c.channel, c.flow, coalesce(begun.state_from, d.state_from), d.epoch_from, c.contact_name, c.chat_jid,
       coalesce(had.owner, 'none'), coalesce(freed.at, c.created_at),
       coalesce(w.texts, '{}'), coalesce(w.kinds, '{}'), w.waiting, w.since,
       greatest(w.last_seq, numbered.seq, 0) + w.went - w.waiting,
       greatest(before.at, w.dead_at), coalesce(read.no, 0), coalesce(failed.no, 0), coalesce(label.labels, '{}')
  from d
 cross join lateral (
        select c.tenant, c.channel, c.contact_name, c.chat_jid, c.created_at, (select flow from channel where name = c.channel) as flow
          from conversation c where c.id = d.conversation_id offset 0) c
  -- A claim that begins a conversation writes two entries at once.
  left join lateral (
        select a.state_from
          from audit a
         where a.conversation_id = d.conversation_id and a.seq = d.seq - 1 and a.at = d.at and a.verb in ('inbound', 'reopen')
        offset 0) begun on true
  -- Who had it before, and when that ended.
  left join lateral (
        select a.seq, a.detail ->> 'owner' as owner
          from audit a
         where a.conversation_id = d.conversation_id and a.seq < d.seq and a.detail ->> 'owner' <> 'none'
         order by a.seq desc
         limit 1) had on true
  left join lateral (
        select a.at from audit a where a.conversation_id = d.conversation_id and a.seq = had.seq + 1 offset 0) freed on true
  left join lateral (
        select a.at
          from audit a
         where a.conversation_id = d.conversation_id and a.seq < d.seq and a.verb = 'close'
         order by a.seq desc
         limit 1) closed on true
  -- The last turn that was begun before, and of an AI's whether its answer was on the wire.
  left join lateral (
        select t.no from turn t
         where t.conversation_id = d.conversation_id and t.epoch <= d.epoch_from
         order by t.no desc
         limit 1) turns on true
  left join lateral (
        select t.no, t.created_at as at
          from (select t.no, t.created_at, t.ended_at
                  from turn t
                 where t.conversation_id = d.conversation_id and t.epoch <= d.epoch_from and t.kind = 'ai'
                 order by t.no desc
                 limit 1) t
         where t.ended_at is null or t.ended_at > d.at) wire on true
  left join lateral (
        select max(t.created_at) as at
          from dead_letter l
         cross join lateral (select t.created_at from turn t where t.conversation_id = l.conversation_id and t.no = l.turn_no offset 0) t
         where l.conversation_id = d.conversation_id and l.state = 'redriven' and l.at <= d.at and l.decided_at > d.at) lost on true
  left join lateral (
        select s.no from human_stretch s
         where s.conversation_id = d.conversation_id and s.epoch <= d.epoch_from
         order by s.no desc
         limit 1) read on true
  cross join lateral (
        select exists (select 1 from human_stretch s
                        where s.conversation_id = d.conversation_id and s.no > coalesce(read.no, 0) offset 0)
            or exists (select 1 from audit a
                        where a.conversation_id = d.conversation_id and a.seq > d.seq and a.verb = 'close' offset 0) as ended
        offset 0) later
  -- What merges moved since: the newest of what had come. It is in the other conversation, or here.
  left join lateral (
        select coalesce(array_agg(x.id) filter (where a.detail ? 'into'), '{}') as went,
               coalesce(array_agg(x.id) filter (where not a.detail ? 'into'), '{}') as came
          from audit a
         cross join lateral (
               select i.id
                 from (select i.id, i.seq, i.received_at from inbox i
                        where i.conversation_id = coalesce((a.detail ->> 'into')::bigint, a.conversation_id) and i.state = 'pending'
                       union all
                       select i.id, i.seq, i.received_at from inbox i
                        where i.conversation_id = coalesce((a.detail ->> 'into')::bigint, a.conversation_id) and i.turn_no is not null
                       union all
                       select i.id, i.seq, i.received_at from inbox i
                        where i.conversation_id = coalesce((a.detail ->> 'into')::bigint, a.conversation_id) and i.turn_no is null
                          and (i.state in ('done', 'human', 'dead') or i.state = 'ignored' and i.reason in ('human_on_phone', 'closed'))) i
                where i.seq is not null and i.received_at <= a.at
                order by i.seq desc
                limit (a.detail ->> 'moved')::bigint) x
         where a.conversation_id = d.conversation_id and a.seq > d.seq and a.verb in ('merge', 'follow')
           and coalesce(a.detail ->> 'moved', '0') <> '0') moved on true
  -- A turn takes all that waits, so that what waited then and was answered was so by the first turn after it that kept what it took, and
  -- the next one had later messages only. Redriven messages and those of a merge go their own ways: then all is looked at.
  left join lateral (
        select one.no, (select min(i.id) from inbox i
                         where i.conversation_id = d.conversation_id
                           and i.turn_no = (select i.turn_no from inbox i
                                             where i.conversation_id = d.conversation_id and i.turn_no > one.no
                                             order by i.turn_no
                                             limit 1)) as id
          from (select i.turn_no as no from inbox i
                 where i.conversation_id = d.conversation_id and i.turn_no > coalesce(turns.no, 0)
                 order by i.turn_no
                 limit 1) one
         where coalesce(cardinality(moved.came), 0) = 0
           and not exists (select 1 from dead_letter l
                            where l.conversation_id = d.conversation_id and l.state = 'redriven' and l.decided_at > d.at offset 0)
        offset 0) until on true
 cross join lateral (
        select array_agg(m.text order by m.at, m.place) filter (where m.waited and m.n <= $6) as texts,
               array_agg(m.type order by m.at, m.place) filter (where m.waited and m.n <= $6) as kinds,
               count(*) filter (where m.waited) as waiting,
               min(m.received_at) filter (where m.waited) as since,
               -- Of what went, the numbers are another conversation's now.
               max(m.seq) filter (where not m.went) as last_seq,
               count(*) filter (where m.went) as went,
               max(m.received_at) filter (where m.received_at <= lost.at) as dead_at
          from (select m.*, row_number() over (partition by m.waited order by m.went, m.place) as n
                  from (select i.text, i.type, i.seq, i.went, i.received_at, coalesce(i.wa_ts, date_trunc('second', i.received_at)) as at,
                               case when i.went then i.id else i.seq end as place,
                               i.received_at > coalesce(greatest(wire.at, lost.at), '-infinity') as waited
                          from (select i.id, i.seq, i.text, i.type, i.wa_ts, i.received_at, false as went from inbox i
                                 where i.conversation_id = d.conversation_id and i.state = 'pending'
                                union all
                                select i.id, i.seq, i.text, i.type, i.wa_ts, i.received_at, false from inbox i
                                 where i.conversation_id = d.conversation_id and i.turn_no > coalesce(turns.no, 0)
                                   and i.turn_no <= coalesce(until.no, 2147483647)
                                union all
                                select i.id, i.seq, i.text, i.type, i.wa_ts, i.received_at, false from inbox i
                                 where later.ended and i.conversation_id = d.conversation_id and i.turn_no is null
                                   and i.id < coalesce(until.id, 9223372036854775807)
                                   and (i.state in ('done', 'human', 'dead') or i.state = 'ignored' and i.reason in ('human_on_phone', 'closed'))
                                   and (i.state = 'human'
                                        and not exists (select 1 from human_stretch s
                                                         where s.conversation_id = d.conversation_id and s.no <= coalesce(read.no, 0)
                                                           and i.seq between s.from_seq and s.to_seq offset 0)
                                        or i.state = 'ignored' and i.reason = 'closed' and i.received_at > coalesce(closed.at, '-infinity'))
                                union all
                                select i.id, i.seq, i.text, i.type, i.wa_ts, i.received_at, true from inbox i
                                 where i.id = any (moved.went)) i
                         where i.received_at <= d.at and i.seq is not null and i.id <> all (coalesce(moved.came, '{}'))) m) m) w
  -- What came before and was dealt with: by whoever had it, or when it was closed.
  left join lateral (
        select i.received_at as at
          from inbox i
         where i.conversation_id = d.conversation_id
           and (i.state in ('done', 'human', 'dead') or i.state = 'ignored' and i.reason in ('human_on_phone', 'closed'))
           and i.id < coalesce(until.id, 9223372036854775807) and i.received_at <= d.at
           and (i.turn_no <= turns.no and i.turn_no is distinct from wire.no
                or i.state = 'human' and exists (select 1 from human_stretch s
                                                  where s.conversation_id = d.conversation_id and s.no <= read.no
                                                    and i.seq between s.from_seq and s.to_seq offset 0)
                or i.reason = 'closed' and i.received_at <= closed.at
                or i.reason = 'human_on_phone')
         order by i.id desc
         limit 1) before on true
  -- The newest number a message had then may be that of one that did not wait.
  left join lateral (
        select i.seq
          from inbox i
         where i.conversation_id = d.conversation_id
           and (i.state in ('done', 'human', 'dead') or i.state = 'ignored' and i.reason in ('human_on_phone', 'closed'))
           and i.id < coalesce(until.id, 9223372036854775807) and i.seq is not null and i.received_at <= d.at and i.id <> all (coalesce(moved.came, '{}'))
         order by i.id desc
         limit 1) numbered on true
  left join lateral (
        select count(*) as no
          from turn t
         where t.conversation_id = d.conversation_id and t.kind = 'ai' and t.state = 'failed' and t.ended_at <= d.at and t.no <= turns.no
           and t.no > coalesce((select x.no from turn x
                                 where x.conversation_id = d.conversation_id and x.kind = 'ai' and x.state = 'done' and x.ended_at <= d.at and x.no <= turns.no
                                 order by x.no desc limit 1), 0)
        offset 0) failed on true
  -- Nobody notes when a label was given.
  left join lateral (
        select m.labels from chatwoot_conversation m where m.conversation_id = d.conversation_id offset 0) label on true
 order by d.at, d.conversation_id, d.seq
