package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// upsert is the webhook of one text message of a customer.
func upsert(id, jid, text string) string {
	return event("messages.upsert", map[string]any{
		"key":      map[string]any{"remoteJid": jid, "fromMe": false, "id": id},
		"pushName": "Maria", "message": map[string]any{"conversation": text}, "messageType": "conversation",
		"messageTimestamp": time.Now().Unix(), "source": "android",
	})
}

// echo is the webhook of a message we sent.
func echo(s receipt) string { return event("send.message", s.message()) }

func event(name string, data any) string {
	body, err := json.Marshal(map[string]any{"event": name, "instance": channelName, "data": data})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// postTo sends a webhook. A status of zero means that nobody answered.
func postTo(ctx context.Context, hooks *http.Client, url, body string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/hooks/evolution/"+channelName, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Plantao-Secret", hookSecret)
	resp, err := hooks.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	var answer struct{ Stored bool }
	if json.NewDecoder(resp.Body).Decode(&answer) != nil || resp.StatusCode == http.StatusOK && !answer.Stored {
		return 0 // broken off, or no router's answer
	}
	return resp.StatusCode
}

// jid is a customer's WhatsApp id.
func jid(n int) string { return fmt.Sprintf("55119%08d@s.whatsapp.net", n) }
