//go:build e2e

package flows

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/n8n"
	"plantao/templates"
	"plantao/test/e2e/n8nlab"
)

// turn is what the router sends. A nil History is not sent at all.
type turn struct {
	Turn         ref       `json:"turn"`
	Channel      string    `json:"channel"`
	Agent        string    `json:"agent"`
	Contact      contact   `json:"contact"`
	Messages     []message `json:"messages"`
	History      []line    `json:"history,omitzero"`
	HumanStretch any       `json:"human_stretch,omitempty"`
	Handover     any       `json:"handover,omitempty"`
}

type ref struct {
	Conversation string    `json:"conversation"`
	No           int       `json:"no"`
	Epoch        int64     `json:"epoch"`
	Gen          int       `json:"gen"`
	Token        string    `json:"token"`
	Deadline     time.Time `json:"deadline"`
}

type contact struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type message struct {
	ID   string    `json:"id"`
	TS   time.Time `json:"ts"`
	Type string    `json:"type"`
	Text string    `json:"text"`
}

type line struct {
	TS    time.Time `json:"ts"`
	From  string    `json:"from"`
	Agent string    `json:"agent,omitempty"`
	Type  string    `json:"type"`
	Text  string    `json:"text"`
}

// answer is what a flow may say; a field that is not here fails the test.
type answer struct {
	Parts []struct {
		Text    string `json:"text"`
		DelayMS int64  `json:"delay_ms"`
	} `json:"parts"`
	Handover *struct {
		To      string          `json:"to"`
		Reason  string          `json:"reason"`
		Context json.RawMessage `json:"context"`
	} `json:"handover"`
	Close *struct {
		Reason string `json:"reason"`
	} `json:"close"`
	Via string `json:"via"`
}

// texts are the parts, then what follows: "→ queue: reason" or "✕ reason".
func (a answer) texts() string {
	var all []string
	for _, p := range a.Parts {
		all = append(all, p.Text)
	}
	if a.Handover != nil {
		all = append(all, "→ "+a.Handover.To+": "+a.Handover.Reason)
	}
	if a.Close != nil {
		all = append(all, "✕ "+a.Close.Reason)
	}
	return strings.Join(all, " | ")
}

// said makes a turn of the customer's messages.
func said(texts ...string) turn {
	now := time.Now().UTC()
	t := turn{
		Turn:    ref{Conversation: "42", No: 7, Epoch: 1, Gen: 1, Token: turnToken, Deadline: now.Add(5 * time.Minute)},
		Channel: "principal", Agent: "ai:atendimento", Contact: contact{ID: "5511987650001@s.whatsapp.net", Name: "Maria"},
	}
	for i, text := range texts {
		t.Messages = append(t.Messages, message{ID: fmt.Sprint(i), TS: now, Type: "text", Text: text})
	}
	return t
}

// after gives a turn its history, oldest first: "contact: oi", "ai: Olá".
func (t turn) after(lines ...string) turn {
	t.History = []line{}
	for i, l := range lines {
		from, text, _ := strings.Cut(l, ": ")
		t.History = append(t.History, line{TS: t.Turn.Deadline.Add(time.Duration(i-100) * time.Minute), From: from, Type: "text", Text: text})
	}
	return t
}

// at moves a turn to a time by the router's clock.
func (t turn) at(ts string) turn {
	when, err := time.Parse(time.RFC3339, ts)
	if err != nil {
		panic(err)
	}
	t.Turn.Deadline = when.Add(5 * time.Minute)
	for i := range t.Messages {
		t.Messages[i].TS = when
	}
	return t
}

// ask posts a turn and reads the answer as strictly as can be.
func (in *instance) ask(t *testing.T, path string, what any) answer {
	t.Helper()
	status, body, _ := in.post(t, path, what)
	require.Equal(t, http.StatusOK, status, body)
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	var a answer
	require.NoError(t, d.Decode(&a), body)
	require.NotNil(t, a.Parts, "an answer without parts is refused: %s", body)
	require.False(t, a.Handover != nil && a.Close != nil, body)
	for _, p := range a.Parts {
		require.NotEmpty(t, strings.TrimSpace(p.Text), body)
		require.True(t, p.DelayMS >= 0 && p.DelayMS <= 30_000, body)
	}
	if a.Handover != nil {
		var object map[string]any
		require.NoError(t, json.Unmarshal(a.Handover.Context, &object), body)
		require.LessOrEqual(t, len(a.Handover.Context), 4096, "more is not handed over")
	}
	return a
}

// edited are the shipped files with what an operator would edit: the address of the router.
func edited(t *testing.T, replace ...string) fs.FS {
	t.Helper()
	folder := fstest.MapFS{}
	names, err := fs.Glob(templates.N8N(), "*.json")
	require.NoError(t, err)
	var found int
	for _, name := range names {
		b, err := fs.ReadFile(templates.N8N(), name)
		require.NoError(t, err)
		text := strings.NewReplacer(replace...).Replace(string(b))
		if text != string(b) {
			found++
		}
		folder[name] = &fstest.MapFile{Data: []byte(text)}
	}
	require.NotZero(t, found, "nothing was replaced")
	return folder
}

func TestFlows(t *testing.T) {
	in := &instance{n8nlab.Start(t)}
	r, m := &router{t: t, status: http.StatusOK}, &model{t: t}
	routerURL, modelURL := listen(t, in.Network.Gateway, r), listen(t, in.Network.Gateway, m)
	m.will(refuses(http.StatusTeapot))
	files := edited(t, "http://router:8080", routerURL)
	changed := func(res n8n.InstallResult) (names []string) {
		for _, w := range res.Workflows {
			if w.Changed {
				names = append(names, w.Name)
			}
		}
		return names
	}
	require.Len(t, changed(in.Install(t, files)), 4)
	require.Empty(t, changed(in.Install(t, files)), "the second run changes nothing")

	t.Run("atendimento without a key", func(t *testing.T) {
		withoutKey(t, in)
		assert.Empty(t, m.questions())
		assert.NotZero(t, r.seen(), "it asked whether it may")
	})
	t.Run("transbordo", func(t *testing.T) { handsOver(t, in) })
	t.Run("horario", func(t *testing.T) { businessHours(t, in) })
	t.Run("satisfacao", func(t *testing.T) { satisfaction(t, in) })
	t.Run("broken requests are answered or refused, never left hanging", func(t *testing.T) { broken(t, in) })

	e := in.editor(t)
	e.fillIn(t, modelKey, modelURL+"/v1")
	t.Run("atendimento with a model", func(t *testing.T) { withModel(t, in, r, m) })
	require.Empty(t, changed(in.Install(t, files)), "a key that somebody filled in stays")
	t.Run("the key is kept", func(t *testing.T) {
		m.will(says("Ainda sei falar."))
		assert.Equal(t, "Ainda sei falar.", in.ask(t, "atendimento", said("oi")).texts())
	})

	t.Run("the credential deleted", func(t *testing.T) {
		status, body, _ := e.call(t, http.MethodDelete, "/rest/credentials/"+e.modelCredential(t), nil)
		require.Equal(t, http.StatusOK, status, body)
		assert.Equal(t, "fallback:greeting", in.ask(t, "atendimento", said("oi")).Via)
		assert.Equal(t, []string{"Plantão: atendimento"}, changed(in.Install(t, files)), "and made anew")
		assert.Equal(t, "fallback:greeting", in.ask(t, "atendimento", said("oi")).Via)
	})
	t.Run("in English", func(t *testing.T) {
		in.Install(t, edited(t, "http://router:8080", routerURL, `"name": "idioma",
              "type": "string",
              "value": "pt"`, `"name": "idioma",
              "type": "string",
              "value": "en"`))
		assert.Contains(t, in.ask(t, "atendimento", said("hello")).texts(), "Hello, Maria! I got: “hello”.")
		assert.Contains(t, in.ask(t, "transbordo", said("hello")).texts(), "Maria, I am handing you over")
		assert.Contains(t, in.ask(t, "satisfacao", said("hello").after("ai: x")).texts(), "from 1 to 5")
		assert.Contains(t, in.ask(t, "horario", said("hello").at("2026-11-27T22:00:00Z")).texts(), "We are back tomorrow at 08:00.")
	})
}

const (
	handover      = "Vou passar você para uma pessoa da equipe. Ela lê esta conversa e continua por aqui."
	notUnderstood = "Ainda não entendi. Pode dizer com outras palavras? Para falar com uma pessoa, escreva atendente."
)

func withoutKey(t *testing.T, in *instance) {
	audio := said("")
	audio.Messages[0].Type = "audio"
	stranger := said("oi")
	stranger.Contact.Name = ""
	long := said(strings.Repeat("é ", 5000), "atendente")
	for name, c := range map[string]struct {
		turn      turn
		via, want string
	}{
		"greeting":           {said("oi", "tudo bem?"), "fallback:greeting", "Olá, Maria! Recebi: “oi / tudo bem?”. Como posso ajudar? Para falar com uma pessoa, escreva atendente."},
		"no name":            {stranger, "fallback:greeting", "Olá! Recebi: “oi”. Como posso ajudar? Para falar com uma pessoa, escreva atendente."},
		"rule":               {said("Bom dia, quero saber do meu PEDIDO"), "fallback:rule", "Olá, Maria! Recebi: “Bom dia, quero saber do meu PEDIDO”. Para localizar o pedido, me envie o número dele."},
		"no second hello":    {said("quanto custa?").after("contact: oi", "ai: Olá!"), "fallback:rule", "Recebi: “quanto custa?”. Para um orçamento, me diga o produto e a quantidade."},
		"attachment":         {audio, "fallback:miss", "Olá, Maria! Recebi: “um áudio”. " + notUnderstood},
		"miss":               {said("blá"), "fallback:miss", "Olá, Maria! Recebi: “blá”. " + notUnderstood},
		"second miss":        {said("blé").after("contact: blá", "ai: Recebi: “blá”. "+notUnderstood), "fallback:second_miss", "Recebi: “blé”. " + handover + " | → queue: not_understood_twice"},
		"miss after help":    {said("blé").after("ai: "+notUnderstood, "contact: preço", "ai: Para um orçamento"), "fallback:miss", "Recebi: “blé”. " + notUnderstood},
		"asks for a human":   {said("Quero falar com um ATENDENTE, por favor"), "human", handover + " | → queue: asked_for_human"},
		"a human in English": {said("let me speak to someone"), "human", handover + " | → queue: asked_for_human"},
		"not every person":   {said("é para duas pessoas"), "fallback:miss", "Olá, Maria! Recebi: “é para duas pessoas”. " + notUnderstood},
		"finished":           {said("Era só isso, obrigada!").after("contact: oi", "ai: Olá!"), "finished", "→ ai:satisfacao: finished"},
		"long":               {long, "human", handover + " | → queue: asked_for_human"},
	} {
		t.Run(name, func(t *testing.T) {
			a := in.ask(t, "atendimento", c.turn)
			assert.Equal(t, c.via, a.Via)
			assert.Equal(t, c.want, a.texts())
			again := in.ask(t, "atendimento", c.turn)
			assert.Equal(t, a, again, "the same turn gets the same answer")
		})
	}
	a := in.ask(t, "atendimento", said("atendente").after("contact: meu pedido não chegou", "ai: Qual o número?"))
	assert.JSONEq(t, `{"contact":"Maria","summary":"Cliente: meu pedido não chegou / Atendimento: Qual o número? / Cliente: atendente"}`, string(a.Handover.Context))
}

func withModel(t *testing.T, in *instance, r *router, m *model) {
	for name, c := range map[string]struct {
		reply     func(http.ResponseWriter, *http.Request)
		via, want string
	}{
		"answers":          {says("Oi, Maria!\n\nChega amanhã."), "llm", "Oi, Maria! | Chega amanhã."},
		"gives up":         {says("[HUMANO]"), "llm:human", handover + " | → queue: model_asked"},
		"says goodbye":     {says("[FIM]"), "llm:finished", "→ ai:satisfacao: finished"},
		"says nothing":     {says(" "), "fallback:greeting", "Olá, Maria! Recebi: “oi”. Como posso ajudar? Para falar com uma pessoa, escreva atendente."},
		"fails":            {refuses(http.StatusInternalServerError), "fallback:greeting", ""},
		"has no more room": {refuses(http.StatusTooManyRequests), "fallback:greeting", ""},
		"refuses the key":  {refuses(http.StatusUnauthorized), "fallback:greeting", ""},
		"talks nonsense":   {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "fallback:greeting", ""},
	} {
		t.Run("the model "+name, func(t *testing.T) {
			m.will(c.reply)
			a := in.ask(t, "atendimento", said("oi"))
			assert.Equal(t, c.via, a.Via)
			if c.want != "" {
				assert.Equal(t, c.want, a.texts())
			}
			assert.Len(t, m.questions(), 1, "it is asked once")
		})
	}

	t.Run("is told what it needs", func(t *testing.T) {
		m.will(says("Certo."))
		what := said("chegou hoje?", "o azul").after("contact: cadê meu pedido", "human: Sou o Zé, vou ver", "contact: obrigada")
		what.HumanStretch = map[string]any{"agent": "human:9"}
		what.Handover = map[string]any{"by": "ai:horario", "context": map[string]any{"summary": "pedido 12"}}
		assert.Equal(t, "llm", in.ask(t, "atendimento", what).Via)
		require.Len(t, m.questions(), 1)
		q := m.questions()[0]
		assert.Equal(t, "gpt-4.1-mini", q.Model)
		assert.Contains(t, contentOf(q, "system"), "responda apenas [HUMANO]")
		assert.Equal(t, "Cliente: Maria\n\nQuem passou a conversa escreveu: {\"summary\":\"pedido 12\"}\n\n"+
			"Conversa até agora:\nCliente: cadê meu pedido\nPessoa da equipe: Sou o Zé, vou ver\nCliente: obrigada\n\n"+
			"Antes de você, uma pessoa da equipe atendeu esta conversa. Não contradiga o que ela disse.\n\n"+
			"Mensagens novas do cliente:\n- chegou hoje?\n- o azul", contentOf(q, "user"))
	})
	t.Run("whoever asks for a human does not wait for the model", func(t *testing.T) {
		m.will(hangs)
		assert.Equal(t, "human", in.ask(t, "atendimento", said("atendente")).Via)
		assert.Empty(t, m.questions())
	})
	t.Run("the model hangs: the answer comes before the deadline", func(t *testing.T) {
		m.will(hangs)
		what := said("oi")
		what.Turn.Deadline = time.Now().Add(9 * time.Second).UTC()
		a := in.ask(t, "atendimento", what)
		assert.Less(t, time.Now(), what.Turn.Deadline)
		assert.Equal(t, "fallback:greeting", a.Via)
		assert.Len(t, m.questions(), 1)
	})
	t.Run("another agent has the conversation: silence, and the model is not asked", func(t *testing.T) {
		m.will(says("tarde demais"))
		r.answers(http.StatusConflict)
		a := in.ask(t, "atendimento", said("oi"))
		assert.Equal(t, "stale", a.Via)
		assert.Empty(t, a.texts())
		assert.Empty(t, m.questions())
		assert.Equal(t, 1, r.seen())
	})
	t.Run("the router does not say: the model is not asked", func(t *testing.T) {
		r.answers(http.StatusServiceUnavailable)
		assert.Equal(t, "fallback:greeting", in.ask(t, "atendimento", said("oi")).Via)
		r.answers(http.StatusOK)
		what := said("oi")
		what.Turn.Token = "forged"
		assert.Equal(t, "fallback:greeting", in.ask(t, "atendimento", what).Via)
		assert.Empty(t, m.questions())
	})
}

func handsOver(t *testing.T, in *instance) {
	a := in.ask(t, "transbordo", said("socorro").after("contact: oi", "ai: Olá!"))
	assert.Equal(t, "Maria, vou passar você para uma pessoa da equipe. Ela lê esta conversa e continua por aqui. | → queue: handover_flow", a.texts())
	assert.JSONEq(t, `{"contact":"Maria","summary":"Cliente: oi / Atendimento: Olá! / Cliente: socorro"}`, string(a.Handover.Context))

	passed := said("socorro")
	passed.Contact.Name = ""
	passed.Handover = map[string]any{"by": "ai:atendimento", "context": map[string]any{"order": 12}}
	a = in.ask(t, "transbordo", passed)
	assert.Equal(t, handover+" | → queue: handover_flow", a.texts())
	assert.JSONEq(t, `{"contact":"","summary":"Cliente: socorro","before":{"order":12}}`, string(a.Handover.Context))

	huge := said(strings.Repeat("😀", 3000), strings.Repeat(`"\<`, 3000)).after("ai: " + strings.Repeat("é", 3000))
	huge.Contact.Name = strings.Repeat("😀", 500)
	huge.Handover = map[string]any{"context": map[string]any{"x": strings.Repeat("😀", 190)}}
	in.ask(t, "transbordo", huge) // within the bound of what is handed over
}

func businessHours(t *testing.T, in *instance) {
	closed := func(when string) string {
		return "Agora estamos fechados. Voltamos " + when + ". Deixe a sua mensagem, que respondemos quando abrirmos."
	}
	const open = "→ ai:atendimento: business_hours"
	for at, want := range map[string]string{
		"2026-11-27T10:00:00-03:00": open,                                     // Friday
		"2026-11-27T07:59:59-03:00": closed("hoje às 08:00"),                  //
		"2026-11-27T08:00:00-03:00": open,                                     // from the first second
		"2026-11-27T11:59:59-03:00": open,                                     //
		"2026-11-27T12:00:00-03:00": closed("hoje às 13:00"),                  // to the last, not beyond
		"2026-11-27T18:00:00-03:00": closed("amanhã às 08:00"),                //
		"2026-11-27T23:59:59-03:00": closed("amanhã às 08:00"),                //
		"2026-11-28T00:00:00-03:00": closed("hoje às 08:00"),                  // past midnight "tomorrow" is today
		"2026-11-28T12:00:00-03:00": closed("segunda-feira (30/11) às 08:00"), // Saturday noon
		"2026-12-25T10:00:00-03:00": closed("amanhã às 08:00"),                // a holiday, every year
		"2027-12-24T19:00:00-03:00": closed("segunda-feira (27/12) às 08:00"), // over a holiday and a Sunday
		"2018-11-05T08:00:00-02:00": open,                                     // daylight saving time began the day before, at midnight
		"2018-11-05T09:59:59Z":      closed("hoje às 08:00"),                  //
		"2018-11-04T02:30:00Z":      closed("segunda-feira (05/11) às 08:00"), // half an hour before a midnight that does not exist
		"2019-02-18T08:00:00-03:00": open,                                     // and ended
	} {
		t.Run(at, func(t *testing.T) {
			assert.Equal(t, want, in.ask(t, "horario", said("oi").at(at)).texts())
		})
	}
	t.Run("said once in a while", func(t *testing.T) {
		night := said("oi?").at("2026-11-27T20:00:00-03:00")
		night.History = []line{{TS: night.Messages[0].TS.Add(-time.Hour), From: "ai", Type: "text", Text: closed("amanhã às 08:00")}}
		a := in.ask(t, "horario", night)
		assert.Equal(t, "closed:said", a.Via)
		assert.Empty(t, a.texts())
		night.History[0].TS = night.Messages[0].TS.Add(-5 * time.Hour)
		assert.Equal(t, closed("amanhã às 08:00"), in.ask(t, "horario", night).texts())
	})
	t.Run("a message that waited counts by when it is answered", func(t *testing.T) {
		late := said("oi").at("2026-11-27T11:50:00-03:00")
		late.Turn.Deadline = late.Turn.Deadline.Add(time.Hour)
		assert.Equal(t, closed("hoje às 13:00"), in.ask(t, "horario", late).texts())
	})
}

func satisfaction(t *testing.T, in *instance) {
	const (
		question = "Para terminar: de 1 a 5, que nota você dá a este atendimento? Responda só com o número."
		again    = "Não entendi a nota. Responda só com um número de 1 a 5, por favor. Se precisar de mais alguma coisa, escreva atendente."
		none     = "Tudo bem, sem nota então. Obrigado pelo contato! | ✕ satisfaction:none"
	)
	asked := []string{"contact: oi", "human: Resolvido!", "ai: " + question}
	for text, score := range map[string]int{
		"5": 5, "1": 1, " 4 ": 4, "cinco": 5, "Três": 3, "nota 4": 4, "dou nota 2": 2, "4/5": 4, "3 de 5": 3, "5!!!": 5, "5, muito bom": 5,
		"⭐⭐⭐⭐": 4, "⭐️⭐️": 2, "5️⃣": 5, "４": 4, "um": 1, "four": 4, "4 out of 5": 4,
		"": 0, "6": 0, "0": 0, "10": 0, "-1": 0, "4.5": 0, "1 ou 2": 0, "um pouco ruim": 0, "⭐⭐⭐⭐⭐⭐": 0, "adorei": 0, "👍": 0,
		"o pedido 3 chegou com defeito e quero trocar": 0,
	} {
		t.Run(text, func(t *testing.T) {
			a := in.ask(t, "satisfacao", said(text).after(asked...))
			switch {
			case score == 0:
				assert.Equal(t, again, a.texts())
			case score <= 2:
				assert.Equal(t, fmt.Sprintf("Obrigado pela sinceridade. Sentimos não ter atendido melhor; vamos rever este atendimento. | ✕ satisfaction:%d", score), a.texts())
			default:
				assert.Equal(t, fmt.Sprintf("Obrigado pela sua nota! Até a próxima. | ✕ satisfaction:%d", score), a.texts())
			}
		})
	}
	for name, c := range map[string]struct {
		turn turn
		want string
	}{
		"asks first":                     {said("obrigada").after("contact: oi", "human: Resolvido!"), question},
		"a number before the question":   {said("5").after("contact: oi", "ai: Quantos?"), question},
		"the last of a burst counts":     {said("2", "não, 5").after(asked...), "Obrigado pela sua nota! Até a próxima. | ✕ satisfaction:5"},
		"asks twice at most":             {said("hein").after(append(asked, "contact: hã", "ai: "+again)...), none},
		"an older question is forgotten": {said("oi").after(append(asked, "contact: 5", "ai: Obrigado pela sua nota! Até a próxima.", "contact: oi")...), question},
		"wants a human":                  {said("quero um atendente").after(asked...), "Claro, vou passar você para uma pessoa da equipe. | → queue: asked_for_human"},
		"no history: never twice":        {said("oi"), none},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, in.ask(t, "satisfacao", c.turn).texts()) })
	}
}

// broken: what no router sends. A flow answers from what is there, or fails with a status; none hangs or hands over garbage.
func broken(t *testing.T, in *instance) {
	for _, path := range []string{"atendimento", "transbordo", "satisfacao"} {
		for _, body := range []any{map[string]any{}, map[string]any{"messages": nil, "history": nil, "contact": nil, "turn": nil}} {
			in.ask(t, path, body)
		}
	}
	status, _, _ := in.post(t, "horario", map[string]any{})
	assert.Equal(t, http.StatusInternalServerError, status, "without a time there are no hours")
}
