package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the service runs where there are no zone files

	"github.com/rickar/cal/v2"
	"github.com/rickar/cal/v2/br"
)

// period is a stretch of a day: minutes after midnight on the wall clock. An end beyond 24:00 is on the next day.
type period struct{ from, to int }

// calendar answers whether somebody works. Make it with newCalendar.
type calendar struct {
	zone     *time.Location
	week     [7][]period
	holidays cal.Calendar
	dates    map[string]day // by 2026-12-24 or 12-24
}

type day struct {
	name    string
	periods []period
}

// on is a holiday of every year on one day.
func on(name string, m time.Month, d int) *cal.Holiday {
	return &cal.Holiday{Name: name, Month: m, Day: d, Func: cal.CalcDayOfMonth}
}

// holidaySets are what Calendar.Holidays may name. br is what is a holiday everywhere by law: laws 662/1949, 6.802/1980, 9.093/1995 and 14.759/2023,
// and Good Friday, which every municipality has. Carnival and Corpus Christi are holidays only where a local law says so. The states' dates are
// their own laws' (law 9.093/1995 allows each state one, its "data magna", apart from those older than it).
var holidaySets = map[string][]*cal.Holiday{
	"br": {
		br.AnoNovo, br.SextaFeiraSanta, br.Tiradentes, br.Trabalhador, br.Independencia, br.NossaSenhoraAparecida, br.Finados,
		br.Republica, br.ConscienciaNegra, br.Natal,
	},
	"br-carnaval":       {br.Carnaval, {Name: "Segunda-feira de Carnaval", Offset: -48, Func: cal.CalcEasterOffset}},
	"br-corpus-christi": {br.CorpusChristi},
	"br-al":             {on("Emancipação Política de Alagoas", time.September, 16)},
	"br-ba":             {on("Independência da Bahia", time.July, 2)},
	"br-ce":             {on("Data Magna do Ceará", time.March, 25)},
	"br-df":             {on("Fundação de Brasília", time.April, 21)},
	"br-ma":             {on("Adesão do Maranhão à Independência", time.July, 28)},
	"br-mg":             {on("Data Magna de Minas Gerais", time.April, 21)},
	"br-ms":             {on("Criação do Estado de Mato Grosso do Sul", time.October, 11)},
	"br-pa":             {on("Adesão do Pará à Independência", time.August, 15)},
	"br-pb":             {on("Fundação da Paraíba", time.August, 5)},
	"br-pi":             {on("Dia do Piauí", time.October, 19)},
	"br-rj":             {on("São Jorge", time.April, 23)},
	"br-rn":             {on("Mártires de Cunhaú e Uruaçu", time.October, 3)},
	"br-ro":             {on("Criação do Estado de Rondônia", time.January, 4)},
	"br-rr":             {on("Criação do Estado de Roraima", time.October, 5)},
	"br-rs":             {on("Revolução Farroupilha", time.September, 20)},
	"br-se":             {on("Emancipação Política de Sergipe", time.July, 8)},
	"br-sp":             {on("Revolução Constitucionalista", time.July, 9)},
	"br-to":             {on("Criação do Estado do Tocantins", time.October, 5)},
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday counts

// newCalendar makes a calendar of a declaration that matches the schema. problem is told what is wrong, by where it stands.
func newCalendar(c Calendar, problem func(at, format string, args ...any)) *calendar {
	made := &calendar{dates: map[string]day{}, holidays: cal.Calendar{Cacheable: true}}
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil || c.Timezone == "Local" {
		problem("timezone", "%q is no time zone; write an IANA name, such as America/Sao_Paulo", c.Timezone)
		zone = time.UTC
	}
	made.zone = zone
	for i, h := range c.Hours {
		periods := periodsOf(h.Open)
		for j, name := range h.Days {
			w := slices.Index(weekdays, name)
			if len(made.week[w]) > 0 {
				problem(fmt.Sprintf("hours[%d].days[%d]", i, j), "%s has its hours already; name all of a day's hours at once", name)
			}
			made.week[w] = periods
		}
	}
	for i, name := range c.Holidays {
		set, ok := holidaySets[name]
		if !ok {
			problem(fmt.Sprintf("holidays[%d]", i), "%q is not known; there are %s; write other days under dates", name, strings.Join(sortedKeys(holidaySets), ", "))
			continue
		}
		made.holidays.AddHoliday(set...)
	}
	for i, s := range c.Dates {
		at := fmt.Sprintf("dates[%d].date", i)
		full := s.Date
		if len(full) == len("12-24") {
			full = "2024-" + full // a leap year
		}
		if _, err := time.Parse(time.DateOnly, full); err != nil {
			problem(at, "%s is no day", s.Date)
			continue
		}
		if _, twice := made.dates[s.Date]; twice {
			problem(at, "%s is there twice", s.Date)
		}
		made.dates[s.Date] = day{name: s.Name, periods: periodsOf(s.Open)}
	}
	return made
}

// periodsOf reads what matches the schema's pattern.
func periodsOf(open []string) []period {
	var list []period
	for _, text := range open {
		from, to, _ := strings.Cut(text, "-")
		p := period{minutes(from), minutes(to)}
		if p.to <= p.from {
			p.to += 24 * 60
		}
		list = append(list, p)
	}
	return list
}

func minutes(text string) int {
	h, _ := strconv.Atoi(text[:2])
	m, _ := strconv.Atoi(text[3:])
	return 60*h + m
}

// periods are those that begin on the day of t, and the name of what makes it special.
func (c *calendar) periods(t time.Time) (periods []period, special string) {
	for _, layout := range []string{time.DateOnly, "01-02"} {
		if d, ok := c.dates[t.Format(layout)]; ok {
			return d.periods, d.name
		}
	}
	if _, observed, h := c.holidays.IsHoliday(t); observed && h != nil {
		return nil, h.Name
	}
	return c.week[t.Weekday()], ""
}

// open says whether it is working time at t. Hours are the wall clock's: where the clock is put forward over a beginning, the
// period begins when the clock goes on.
func (c *calendar) open(t time.Time) bool {
	for back := range 2 { // a period of the day before may last until now
		day := c.day(t, -back)
		periods, _ := c.periods(day)
		for _, p := range periods {
			if !t.Before(c.at(day, p.from)) && t.Before(c.at(day, p.to)) {
				return true
			}
		}
	}
	return false
}

// opens is when working time begins next after t; zero if it does not within a year.
func (c *calendar) opens(t time.Time) time.Time {
	for ahead := range 367 {
		day := c.day(t, ahead)
		periods, _ := c.periods(day)
		first := time.Time{}
		for _, p := range periods {
			if begin := c.at(day, p.from); begin.After(t) && (first.IsZero() || begin.Before(first)) {
				first = begin
			}
		}
		if !first.IsZero() {
			return first
		}
	}
	return time.Time{}
}

// searchDays bounds how far ahead working time is looked for. A calendar that has so little in more than a year has none.
const searchDays = 400

// after is when so much working time has passed since t; zero if it does not within searchDays. Time is what passes, not what the wall
// clock shows: an hour that the clock leaps over does not count, one that it shows twice does twice.
func (c *calendar) after(since time.Time, left time.Duration) time.Time {
	t := since
	for ahead := -1; ahead <= searchDays; ahead++ { // a period of the day before may last until now
		day := c.day(since, ahead)
		periods, _ := c.periods(day)
		// In the order of their beginnings, so that what two of them share counts once: what is before t is behind us.
		for _, p := range slices.SortedFunc(slices.Values(periods), func(a, b period) int { return a.from - b.from }) {
			begin, end := c.at(day, p.from), c.at(day, p.to)
			if begin.Before(t) {
				begin = t
			}
			open := end.Sub(begin)
			if open >= left {
				return begin.Add(left)
			}
			if open > 0 {
				left, t = left-open, end
			}
		}
	}
	return time.Time{}
}

// day is noon of the day so many days after that of t: unlike midnight, every day has one.
func (c *calendar) day(t time.Time, after int) time.Time {
	y, m, d := t.In(c.zone).Date()
	return time.Date(y, m, d+after, 12, 0, 0, 0, c.zone)
}

// at is when the wall clock shows so many minutes after midnight. What it leaps over when it is put forward, is when it leaps; of what it
// shows twice when it is put back, one is meant, always the same.
func (c *calendar) at(day time.Time, minute int) time.Time {
	y, m, d := day.Date()
	t := time.Date(y, m, d, 0, minute, 0, 0, c.zone)
	shown, asked := t.Hour()*60+t.Minute(), minute%(24*60)
	if shown == asked {
		return t
	}
	from, to := t.ZoneBounds()
	if (shown-asked+24*60)%(24*60) < 12*60 {
		return from // it shows more than was asked: it has leapt
	}
	return to
}
