package server

import (
	"regexp"

	"plantao/test/lab/evolution/schema"
	"plantao/test/lab/evolution/webhook"
)

// The schemas of request bodies. They follow upstream's src/validate, gaps included: instance/create checks no integration and no
// webhook, and nothing checks mentionsEveryOne.

var (
	text     = schema.Schema{Type: "string"}
	flag     = schema.Schema{Type: "boolean"}
	number   = schema.Schema{Type: "string", Description: "Invalid format"}
	delay    = schema.Schema{Type: "integer", Description: "Enter a value in milliseconds"}
	digits   = regexp.MustCompile(`^\d+`)
	presence = schema.Schema{Type: "string", Enum: []string{"unavailable", "available", "composing", "recording", "paused"}}
	quoted   = schema.Schema{Properties: []schema.Property{
		{Name: "key", Schema: schema.Schema{
			Type:       "object",
			Properties: []schema.Property{{Name: "id", Schema: text}, {Name: "remoteJid", Schema: text}, {Name: "fromMe", Schema: flag}},
			Required:   []string{"id"}, NotEmpty: []string{"id"},
		}},
		{Name: "message", Schema: schema.Schema{Type: "object"}},
	}}
	mentioned = schema.Schema{Type: "array", MinItems: 1, UniqueItems: true, Items: &schema.Schema{
		Type: "string", Pattern: digits, Description: `"mentioned" must be an array of numeric strings`,
	}}
)

// sendOptions are the properties all send routes share.
var sendOptions = []schema.Property{
	{Name: "delay", Schema: delay}, {Name: "quoted", Schema: quoted}, {Name: "everyOne", Schema: flag}, {Name: "mentioned", Schema: mentioned},
}

func object(required []string, properties ...schema.Property) schema.Schema {
	return schema.Schema{Type: "object", Properties: properties, Required: required}
}

func sendBody(required []string, properties ...schema.Property) schema.Schema {
	return object(required, append(append([]schema.Property{{Name: "number", Schema: number}}, properties...), sendOptions...)...)
}

var (
	textSchema = sendBody([]string{"number", "text"}, schema.Property{Name: "text", Schema: text}, schema.Property{Name: "linkPreview", Schema: flag})

	mediaSchema = sendBody([]string{"number", "mediatype"},
		schema.Property{Name: "mediatype", Schema: schema.Schema{Type: "string", Enum: []string{"image", "document", "video", "audio"}}},
		schema.Property{Name: "mimetype", Schema: text}, schema.Property{Name: "media", Schema: text},
		schema.Property{Name: "fileName", Schema: text}, schema.Property{Name: "caption", Schema: text})

	audioSchema = sendBody([]string{"number"}, schema.Property{Name: "audio", Schema: text})

	buttonsSchema = sendBody([]string{"number"},
		schema.Property{Name: "thumbnailUrl", Schema: text}, schema.Property{Name: "title", Schema: text},
		schema.Property{Name: "description", Schema: text}, schema.Property{Name: "footer", Schema: text},
		schema.Property{Name: "buttons", Schema: schema.Schema{Type: "array", Items: &schema.Schema{
			Type: "object", Required: []string{"type"}, NotEmpty: []string{"id", "url", "phoneNumber"},
			Properties: []schema.Property{
				{Name: "type", Schema: schema.Schema{Type: "string", Enum: []string{"reply", "copy", "url", "call", "pix"}}},
				{Name: "displayText", Schema: text}, {Name: "id", Schema: text}, {Name: "url", Schema: text}, {Name: "phoneNumber", Schema: text},
				{Name: "currency", Schema: text}, {Name: "name", Schema: text},
				{Name: "keyType", Schema: schema.Schema{Type: "string", Enum: []string{"phone", "email", "cpf", "cnpj", "random"}}},
				{Name: "key", Schema: text},
			},
		}}})

	presenceSchema = object([]string{"number", "presence", "delay"}, schema.Property{Name: "number", Schema: number},
		schema.Property{Name: "delay", Schema: schema.Schema{Type: "number"}}, schema.Property{Name: "presence", Schema: presence})

	presenceOnlySchema = object([]string{"presence"}, schema.Property{Name: "presence", Schema: presence})

	numbersSchema = object(nil, schema.Property{Name: "numbers", Schema: schema.Schema{
		Type: "array", MinItems: 1, UniqueItems: true,
		Items: &schema.Schema{Type: "string", Description: `"numbers" must be an array of numeric strings`},
	}})

	readMessagesSchema = object([]string{"readMessages"}, schema.Property{Name: "readMessages", Schema: schema.Schema{
		Type: "array", MinItems: 1, UniqueItems: true, Items: &schema.Schema{
			Properties: []schema.Property{{Name: "id", Schema: text}, {Name: "fromMe", Schema: flag}, {Name: "remoteJid", Schema: text}},
			Required:   []string{"id", "fromMe", "remoteJid"}, NotEmpty: []string{"id", "remoteJid"},
		},
	}})

	findMessagesSchema = object(nil,
		schema.Property{Name: "where", Schema: object(nil,
			schema.Property{Name: "key", Schema: object(nil, schema.Property{Name: "remoteJid", Schema: text},
				schema.Property{Name: "id", Schema: text}, schema.Property{Name: "fromMe", Schema: flag})},
			schema.Property{Name: "message", Schema: schema.Schema{Type: "object"}})},
		schema.Property{Name: "limit", Schema: schema.Schema{Type: "integer"}})

	// Upstream checks nothing here.
	base64Schema = object(nil)

	webhookSchema = object([]string{"webhook"}, schema.Property{Name: "webhook", Schema: schema.Schema{
		Type: "object", Required: []string{"enabled", "url"}, NotEmpty: []string{"enabled", "url"},
		Properties: []schema.Property{
			{Name: "enabled", Schema: flag}, {Name: "url", Schema: text}, {Name: "headers", Schema: schema.Schema{Type: "object"}},
			{Name: "byEvents", Schema: flag}, {Name: "base64", Schema: flag},
			{Name: "events", Schema: schema.Schema{Type: "array", Items: &schema.Schema{Type: "string", Enum: webhook.Events}}},
		},
	}})

	settingsSchema = object([]string{"rejectCall", "groupsIgnore", "alwaysOnline", "readMessages", "readStatus", "syncFullHistory"}, settingProperties...)

	instanceSchema = object([]string{"instanceName"}, append([]schema.Property{
		{Name: "instanceName", Schema: text}, {Name: "token", Schema: text},
		{Name: "number", Schema: schema.Schema{Type: "string", Pattern: regexp.MustCompile(`^\d+[\.@\w-]+`)}},
		{Name: "businessId", Schema: text}, {Name: "qrcode", Schema: flag},
		{Name: "proxyHost", Schema: text}, {Name: "proxyPort", Schema: text}, {Name: "proxyProtocol", Schema: text},
		{Name: "proxyUsername", Schema: text}, {Name: "proxyPassword", Schema: text},
		{Name: "chatwootAccountId", Schema: text}, {Name: "chatwootToken", Schema: text}, {Name: "chatwootUrl", Schema: text},
		{Name: "chatwootSignMsg", Schema: flag}, {Name: "chatwootReopenConversation", Schema: flag}, {Name: "chatwootConversationPending", Schema: flag},
		{Name: "chatwootImportContacts", Schema: flag}, {Name: "chatwootNameInbox", Schema: text}, {Name: "chatwootMergeBrazilContacts", Schema: flag},
		{Name: "chatwootImportMessages", Schema: flag}, {Name: "chatwootDaysLimitImportMessages", Schema: schema.Schema{Type: "number"}},
	}, settingProperties...)...)
)

var settingProperties = []schema.Property{
	{Name: "rejectCall", Schema: flag}, {Name: "msgCall", Schema: text}, {Name: "groupsIgnore", Schema: flag}, {Name: "alwaysOnline", Schema: flag},
	{Name: "readMessages", Schema: flag}, {Name: "readStatus", Schema: flag}, {Name: "syncFullHistory", Schema: flag}, {Name: "wavoipToken", Schema: text},
}
