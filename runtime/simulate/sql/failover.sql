-- The next connection finds another timeline than the one that is kept.
update cluster set timeline = timeline + 1000000
