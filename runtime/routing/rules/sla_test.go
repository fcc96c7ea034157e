package rules

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const promises = `calendars:
  loja:
    timezone: America/Sao_Paulo
    hours:
      - {days: [mon, tue, wed, thu, fri], open: ["08:00-12:00", "13:30-18:00"]}
      - {days: [sat], open: ["09:00-13:00"]}
    holidays: [br, br-sp]
    dates: [{date: 2026-12-24, open: ["08:00-12:00"]}]
sla:
  - {name: broken, when: 'message.kinds[7] == "x"', first_response: 1s}
  - {name: vip, when: 'contact.name.startsWith("VIP")', first_response: 90s}
  - {name: normal, first_response: 5m, resolution: 8h, hours: loja}
rules: []
`

func TestPromise(t *testing.T) {
	t.Parallel()
	s, err := Read("rules.yaml", []byte(promises))
	require.NoError(t, err)
	since := at(t, "America/Sao_Paulo", "2026-11-25 17:58")
	vip := s.Promise(Facts{Now: since, Contact: Contact{Name: "VIP Ana"}}, since)
	require.Equal(t, "vip", vip.SLA)
	require.Equal(t, since.Add(90*time.Second), vip.FirstResponse)
	require.Zero(t, vip.Resolution, "it promises none")
	require.Len(t, vip.Failed, 1, "a condition that cannot be told does not hold")
	require.Equal(t, "sla:broken", vip.Failed[0].Rule)

	normal := s.Promise(Facts{Now: since.Add(time.Hour)}, since)
	require.Equal(t, "normal", normal.SLA)
	require.Equal(t, at(t, "America/Sao_Paulo", "2026-11-26 08:03").UTC(), normal.FirstResponse.UTC(), "counted from since, in the shop's hours")
	require.Equal(t, at(t, "America/Sao_Paulo", "2026-11-26 17:28").UTC(), normal.Resolution.UTC())

	none, err := Read("rules.yaml", []byte(shop))
	require.NoError(t, err)
	require.Equal(t, Promised{}, none.Promise(Facts{Now: since}, since))
}

func TestAfter(t *testing.T) {
	t.Parallel()
	s, err := Read("rules.yaml", []byte(shop))
	require.NoError(t, err)
	made := func(c Calendar) *calendar {
		return newCalendar(c, func(_, format string, args ...any) { t.Errorf(format, args...) })
	}
	const sp, us = "America/Sao_Paulo", "America/New_York"
	ny := made(Calendar{Timezone: us, Hours: []Hours{{Days: []string{"sat", "sun"}, Open: []string{"00:00-24:00"}}}})
	nights := made(Calendar{Timezone: us, Hours: []Hours{{Days: []string{"sat"}, Open: []string{"22:00-06:00"}}, {Days: []string{"sun"}, Open: []string{"05:00-07:00"}}}})
	leapt := made(Calendar{Timezone: us, Hours: []Hours{{Days: []string{"sun"}, Open: []string{"02:10-02:50", "10:00-11:00"}}}})
	// Until 2018 Brazil put its clocks forward at midnight: 4 November 2018 began at one o'clock.
	old := made(Calendar{Timezone: sp, Hours: []Hours{{Days: []string{"sat"}, Open: []string{"22:00-02:00"}}, {Days: []string{"sun"}, Open: []string{"00:30-01:30", "10:00-11:00"}}}})
	mixed := made(Calendar{Timezone: sp, Hours: []Hours{{Days: []string{"mon"}, Open: []string{"13:00-18:00", "08:00-12:00", "09:00-14:00"}}}})
	never := made(Calendar{Timezone: sp})
	newYear := made(Calendar{Timezone: sp, Hours: []Hours{{Days: []string{"mon"}, Open: []string{"08:00-12:00"}}}, Dates: []Special{{Date: "2026-11-30"}, {Date: "2026-12-07"}}})
	shopCal, night := s.calendars["loja"], s.calendars["noite"]
	for _, c := range []struct {
		name, zone, since string
		of                *calendar
		d                 time.Duration
		due               string // empty: never
	}{
		{"within a period", sp, "2026-11-25 08:00", shopCal, 5 * time.Minute, "2026-11-25 08:05"},
		{"to its very end", sp, "2026-11-25 08:00", shopCal, 4 * time.Hour, "2026-11-25 12:00"},
		{"and a minute more", sp, "2026-11-25 08:00", shopCal, 4*time.Hour + time.Minute, "2026-11-25 13:31"},
		{"over the break", sp, "2026-11-25 11:58", shopCal, 5 * time.Minute, "2026-11-25 13:33"},
		{"asked in the break", sp, "2026-11-25 12:30", shopCal, 5 * time.Minute, "2026-11-25 13:35"},
		{"asked when it closes", sp, "2026-11-25 18:00", shopCal, time.Minute, "2026-11-26 08:01"},
		{"asked at night", sp, "2026-11-25 23:00", shopCal, 8 * time.Hour, "2026-11-26 17:30"},
		{"over the week-end", sp, "2026-11-28 12:59", shopCal, 2 * time.Minute, "2026-11-30 08:01"},
		{"a national holiday", sp, "2026-11-19 17:59", shopCal, 2 * time.Minute, "2026-11-21 09:01"},
		{"a day that closes early", sp, "2026-12-24 11:59", shopCal, 2 * time.Minute, "2026-12-26 09:01"},
		{"two weeks", sp, "2026-11-30 08:00", shopCal, 2 * (5*8*time.Hour + 5*30*time.Minute + 4*time.Hour), "2026-12-12 13:00"},
		{"over midnight", sp, "2026-11-27 23:59", night, 2 * time.Minute, "2026-11-28 00:01"},
		{"the day before's period, after midnight", sp, "2026-11-28 01:00", night, 59 * time.Minute, "2026-11-28 01:59"},
		{"and on to the next night", sp, "2026-11-28 01:00", night, 61 * time.Minute, "2026-11-28 22:01"},
		{"two days that are one period", us, "2026-11-28 23:00", ny, 2 * time.Hour, "2026-11-29 01:00"},
		{"the clock is put forward: an hour less", us, "2026-03-08 00:00", ny, 3 * time.Hour, "2026-03-08 04:00"},
		{"the clock is put back: an hour more", us, "2026-11-01 00:00", ny, 3 * time.Hour, "2026-11-01 02:00"},
		{"what two periods share counts once", us, "2026-11-28 22:00", nights, 9 * time.Hour, "2026-11-29 07:00"},
		{"a night in which the clock is put forward", us, "2026-03-07 22:00", nights, 7 * time.Hour, "2026-03-08 06:00"},
		{"a period that is leapt over", us, "2026-03-08 00:00", leapt, 10 * time.Minute, "2026-03-08 10:10"},
		{"a day without midnight", sp, "2018-11-03 22:00", old, 3 * time.Hour, "2018-11-04 02:00"},
		{"and after it", sp, "2018-11-03 22:00", old, 3*time.Hour + 10*time.Minute, "2018-11-04 10:10"},
		{"periods in any order", sp, "2026-11-30 07:00", mixed, 10 * time.Hour, "2026-11-30 18:00"},
		{"two weeks closed", sp, "2026-11-29 00:00", newYear, time.Minute, "2026-12-14 08:01"},
		{"never open", sp, "2026-11-25 08:00", never, time.Second, ""},
		{"more than there is in a year", sp, "2026-11-25 08:00", newYear, 300 * time.Hour, ""},
	} {
		since := at(t, c.zone, c.since)
		due := c.of.after(since, c.d)
		if c.due == "" {
			require.Zero(t, due, c.name)
			continue
		}
		require.Equal(t, at(t, c.zone, c.due).UTC(), due.UTC(), c.name)
		// The same, minute by minute.
		var counted time.Duration
		for now := since; now.Before(due); now = now.Add(time.Minute) {
			if c.of.open(now) {
				counted += time.Minute
			}
		}
		require.Equal(t, c.d, counted, "%s: the minutes in which it was open", c.name)
	}
}
