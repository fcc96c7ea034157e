package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
	"plantao/runtime/routing"
	"plantao/runtime/routing/rules"
)

// rules are those of a version, or in force.
func (d *routerDouble) rules(r *http.Request) (any, error) {
	version := r.PathValue("version")
	text, ok := d.script.OldRules[version]
	if version == "" {
		text, version = d.script.Rules, rules.VersionOf([]byte(d.script.Rules))
		ok = text != ""
	}
	if !ok {
		return nil, conversation.ErrNoRules
	}
	return api.Rules{Version: version, Text: text, Since: d.script.Now, By: "operator:stack"}, nil
}

// putRules checks as the router does.
func (d *routerDouble) putRules(_ *http.Request, body []byte) (any, error) {
	var in api.RulesRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, unlike("body: %v", err)
	}
	r, changed, err := routing.PutInForce(context.Background(), shelf{d: d}, conversation.Rulebook{Text: in.Text})
	return api.RulesStored{Version: r.Version, Changed: changed}, err
}

// shelf is where the double keeps the rules.
type shelf struct {
	conversation.Rulebooks
	d *routerDouble
}

func (s shelf) PutRules(_ context.Context, r conversation.Rulebook) (bool, error) {
	changed := s.d.script.Rules != r.Text
	s.d.script.Rules = r.Text
	return changed, nil
}

// decisions are those made since, a page at a time; a place is a number in the script.
func (d *routerDouble) decisions(r *http.Request) (any, error) {
	q, err := query(r, "since", "after", "limit")
	if err != nil {
		return nil, err
	}
	since, err := time.Parse(time.RFC3339Nano, q.Get("since"))
	if err != nil {
		return nil, unlike("since %q", q.Get("since"))
	}
	limit := int(number(q, "limit", 50))
	if d.script.Page > 0 {
		limit = min(limit, d.script.Page)
	}
	list := api.Decisions{Decisions: []api.Decision{}}
	for i, one := range d.script.Decisions {
		switch {
		case i < int(number(q, "after", 0)) || !one.Facts.Now.After(since):
			continue
		case len(list.Decisions) == limit:
			list.Next = strconv.Itoa(i)
			return list, nil
		}
		list.Decisions = append(list.Decisions, api.FromDecided(one, rules.MaxTextBytes))
	}
	return list, nil
}
