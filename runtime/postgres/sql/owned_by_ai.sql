select id, tenant from conversation where owner_kind = 'ai' order by id
