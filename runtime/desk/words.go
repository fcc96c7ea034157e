package desk

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"plantao/runtime/conversation"
)

// words are what agents read in Chatwoot, in one language.
type words struct {
	edited, revoked, unsent, reaction, unreaction, missing, silent string
	handover, reason, context, offered                             string
	unfetched, refused, late, unknown, notThere, suspended         string
	verbs                                                          map[conversation.Verb]string
	broken                                                         map[conversation.PromiseKind]string
	kinds                                                          map[string]string
}

var languages = map[string]words{
	"en": {
		edited: "The customer corrected a message. It says now:\n%s", revoked: "The customer deleted a message.",
		unsent: "The customer did not get this answer:\n%s", reaction: "Reacted with %s", unreaction: "Took a reaction back.",
		missing: "[attachment of type %s not available: look at the phone]", silent: "[message of type %s: look at the phone]",
		handover: "%s: %s has this conversation now (by %s).", reason: "Reason: %s", context: "What the one before says:\n%s",
		offered:   "%s: you can accept this conversation within %d seconds, by answering it or by assigning it to yourself.",
		unfetched: "The attachment could not be fetched, or WhatsApp does not take it. Send it again as a new message.",
		refused:   "WhatsApp refused this message. Check the number and what is attached, then retry.",
		late:      "It could not be sent in time: WhatsApp was not reachable. Retry sends it again.",
		unknown:   "It is not known whether the customer got this message. Look at the phone before you write it again.",
		notThere:  "WhatsApp reports that this message was not delivered. Retry sends it again.",
		suspended: "It was not sent. Retry sends it again.",
		verbs: map[conversation.Verb]string{
			conversation.VerbPass: "Passed on", conversation.VerbQueue: "Waits for a human", conversation.VerbTake: "Taken",
			conversation.VerbAccept: "Accepted", conversation.VerbHandback: "Handed back", conversation.VerbHold: "Suspended",
			conversation.VerbResume: "Resumed", conversation.VerbExpire: "Deadline passed", conversation.VerbRelease: "Released",
			conversation.VerbRecover: "Suspended after loss of data",
		},
		broken: map[conversation.PromiseKind]string{
			conversation.FirstResponse: "SLA %s is broken: the customer was not answered in time.",
			conversation.Resolution:    "SLA %s is broken: the conversation was not closed in time.",
		},
		kinds: map[string]string{"none": "nobody", "queue": "the queue", "router": "the router", "operator": "an operator", "human": "a human", "ai": "the AI"},
	},
	"pt_BR": {
		edited: "O cliente corrigiu uma mensagem. Agora ela diz:\n%s", revoked: "O cliente apagou uma mensagem.",
		unsent: "O cliente não recebeu esta resposta:\n%s", reaction: "Reagiu com %s", unreaction: "Retirou uma reação.",
		missing: "[anexo do tipo %s indisponível: veja no celular]", silent: "[mensagem do tipo %s: veja no celular]",
		handover: "%s: agora a conversa é de %s (por %s).", reason: "Motivo: %s", context: "Recado de quem atendia:\n%s",
		offered:   "%s: você pode aceitar esta conversa em até %d segundos, respondendo ou atribuindo-a a você.",
		unfetched: "O anexo não pôde ser obtido, ou o WhatsApp não o aceita. Envie de novo como nova mensagem.",
		refused:   "O WhatsApp recusou esta mensagem. Confira o número e o anexo e tente de novo.",
		late:      "Não foi possível enviar a tempo: o WhatsApp não respondia. Tentar de novo envia outra vez.",
		unknown:   "Não se sabe se o cliente recebeu esta mensagem. Veja no celular antes de escrever de novo.",
		notThere:  "O WhatsApp informa que esta mensagem não foi entregue. Tentar de novo envia outra vez.",
		suspended: "Não foi enviada. Tentar de novo envia outra vez.",
		verbs: map[conversation.Verb]string{
			conversation.VerbPass: "Passada adiante", conversation.VerbQueue: "Espera por um humano", conversation.VerbTake: "Assumida",
			conversation.VerbAccept: "Aceita", conversation.VerbHandback: "Devolvida", conversation.VerbHold: "Suspensa",
			conversation.VerbResume: "Retomada", conversation.VerbExpire: "Prazo esgotado", conversation.VerbRelease: "Liberada",
			conversation.VerbRecover: "Suspensa após perda de dados",
		},
		broken: map[conversation.PromiseKind]string{
			conversation.FirstResponse: "SLA %s descumprido: o cliente não foi respondido a tempo.",
			conversation.Resolution:    "SLA %s descumprido: a conversa não foi encerrada a tempo.",
		},
		kinds: map[string]string{"none": "ninguém", "queue": "a fila", "router": "o roteador", "operator": "um operador", "human": "um humano", "ai": "a IA"},
	},
}

// wordsIn are the words of a language; Brazilian Portuguese where there are none.
func wordsIn(language string) words {
	if w, ok := languages[language]; ok {
		return w
	}
	return languages["pt_BR"]
}

// Languages lists what Config.Language may be.
func Languages() []string { return []string{"en", "pt_BR"} }

// name is an owner or actor, kind:id, as people read it.
func (w words) name(of string) string {
	kind, id, _ := strings.Cut(of, ":")
	if word := w.kinds[kind]; word != "" {
		kind = word
	}
	if id == "" {
		return kind
	}
	return kind + " " + id
}

// problem says in plain words why a message did not arrive.
func (w words) problem(t conversation.Spoken) string {
	switch {
	case t.Result == ambiguous:
		return w.unknown
	case t.Reason == conversation.ReasonSendRefused:
		return w.refused
	case t.Reason == conversation.ReasonDeadline:
		return w.late
	case t.Reason == "whatsapp_error":
		return w.notThere
	}
	return w.suspended
}

// offer tells a human that they are offered the conversation. A mention of a user makes Chatwoot notify them.
func (w words) offer(n conversation.HandoverNote) string {
	var said struct {
		Name    string
		Seconds int
	}
	_ = json.Unmarshal(n.Context, &said) // what the store made; without it, the note is poorer
	who := cmp.Or(said.Name, w.name(n.Owner))
	if user, is := strings.CutPrefix(n.Owner, "human:"); is && said.Name != "" {
		who = fmt.Sprintf("[@%s](mention://user/%s/%s)", said.Name, user, url.PathEscape(said.Name))
	}
	return fmt.Sprintf(w.offered, who, said.Seconds)
}
