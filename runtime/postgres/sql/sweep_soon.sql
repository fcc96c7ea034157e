-- $1 channel, empty: all. A sweep that goes on loses its lease, and what asked for another is not forgotten.
update channel set sweep_due = now() where $1 in ('', name) and (sweep_due is null or sweep_due > now())
