package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zone names must be checkable on machines without zone files
)

// namespace of our keys in Pulumi.<stack>.yaml.
const namespace = "plantao:"

// Config is what a stack may set in Pulumi.<stack>.yaml, each key as plantao:<key>.
type Config struct {
	// Images: auto, registry or lab. auto is what `make images` decided and wrote down. Default auto.
	Images string
	// Port the ingress publishes on 127.0.0.1. Default 8080.
	Port int
	// Domain the services' names stand under: n8n.<domain>, chatwoot.<domain>, … Default localhost.
	Domain string
	// Timezone is an IANA name, used by n8n and for schedules. Default America/Sao_Paulo.
	Timezone string
	// Account is the name of the Chatwoot account. Default Atendimento.
	Account string
	// AdminName and AdminEmail are the first person of n8n and Chatwoot. The address's domain needs a
	// dot: Chatwoot refuses others. Required.
	AdminName  string
	AdminEmail string
	// RouterReplicas, 1 to 4. Two let one be replaced while the other answers. Default 2.
	RouterReplicas int
	// Memory overrides a service's limit in MiB, by service name. Default: none.
	Memory map[string]int
	// Channels are the WhatsApp numbers. Required, at least one.
	Channels []Channel
	// Rules is the file with the rules by which conversations are given, from the project's folder; it is checked at each preview.
	// Default: none, and each channel's flow gets its conversations.
	Rules string
}

// Channel is one Evolution instance and the flow that answers there.
type Channel struct {
	// Name of the Evolution instance and the last part of the hook's path: a-z, 0-9 and dashes.
	Name string `json:"name"`
	// Integration is EVOLUTION (Evolution's test channel) or WHATSAPP-BAILEYS.
	Integration string `json:"integration"`
	// Number in digits with country code; required for EVOLUTION, where it names the inlet.
	Number string `json:"number"`
	// Flow is the n8n webhook path that answers.
	Flow string `json:"flow"`
}

var (
	nameRE   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	numberRE = regexp.MustCompile(`^[0-9]{8,15}$`)
	domainRE = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
)

// defaults are a Config before the stack's file is read.
func defaults() Config {
	return Config{
		Images:         "auto",
		Port:           8080,
		Domain:         "localhost",
		Timezone:       "America/Sao_Paulo",
		Account:        "Atendimento",
		RouterReplicas: 2,
	}
}

// Parse reads the stack's configuration as the engine gives it: full keys to values, where a structured
// value is JSON. Every problem is reported, not only the first.
func Parse(values map[string]string) (Config, error) {
	c := defaults()
	fields := map[string]any{
		"images": &c.Images, "port": &c.Port, "domain": &c.Domain, "timezone": &c.Timezone,
		"account": &c.Account, "adminName": &c.AdminName, "adminEmail": &c.AdminEmail,
		"routerReplicas": &c.RouterReplicas, "memory": &c.Memory, "channels": &c.Channels, "rules": &c.Rules,
	}
	var problems []error
	for _, full := range slices.Sorted(maps.Keys(values)) {
		key, ours := strings.CutPrefix(full, namespace)
		if !ours {
			continue
		}
		field, known := fields[key]
		if !known {
			problems = append(problems, fmt.Errorf("plantao:%s is not a setting; known are %s", key, strings.Join(slices.Sorted(maps.Keys(fields)), ", ")))
			continue
		}
		if err := set(field, values[full]); err != nil {
			problems = append(problems, fmt.Errorf("plantao:%s: %w", key, err))
		}
	}
	problems = append(problems, c.problems()...)
	if len(problems) > 0 {
		return Config{}, fmt.Errorf("stack configuration has %d problem(s); mend them in Pulumi.<stack>.yaml:\n%w", len(problems), errors.Join(problems...))
	}
	return c, nil
}

func set(field any, value string) error {
	switch f := field.(type) {
	case *string:
		*f = value
	case *int:
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", value)
		}
		*f = n
	default:
		d := json.NewDecoder(strings.NewReader(value))
		d.DisallowUnknownFields()
		if err := d.Decode(f); err != nil {
			return fmt.Errorf("read value: %w", err)
		}
	}
	return nil
}

// problems are what is wrong with the values themselves.
func (c Config) problems() []error {
	var bad []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	check(slices.Contains([]string{"auto", "registry", "lab"}, c.Images), "plantao:images: %q is none of auto, registry, lab", c.Images)
	check(c.Port >= 1 && c.Port <= 65535, "plantao:port: %d is not between 1 and 65535", c.Port)
	check(domainRE.MatchString(c.Domain), "plantao:domain: %q is not a lower-case host name", c.Domain)
	_, err := time.LoadLocation(c.Timezone)
	check(err == nil && c.Timezone != "", "plantao:timezone: %q is not an IANA time zone such as America/Sao_Paulo", c.Timezone)
	check(plainText(c.Account), "plantao:account: %q must be one line of plain text", c.Account)
	check(plainText(c.AdminName), "plantao:adminName: %q must be one line of plain text, such as the operator's name", c.AdminName)
	_, host, _ := strings.Cut(c.AdminEmail, "@")
	_, err = mail.ParseAddress(c.AdminEmail)
	check(err == nil && strings.Contains(host, ".") && !strings.ContainsAny(c.AdminEmail, " '\"<>"), "plantao:adminEmail: %q is not an address whose domain has a dot", c.AdminEmail)
	check(c.RouterReplicas >= 1 && c.RouterReplicas <= 4, "plantao:routerReplicas: %d is not between 1 and 4", c.RouterReplicas)
	for name, mb := range c.Memory {
		check(mb >= 32, "plantao:memory: %s has %d MiB; 32 is the least", name, mb)
	}
	check(len(c.Channels) > 0, "plantao:channels: at least one channel is needed")
	seen := map[string]bool{}
	for i, ch := range c.Channels {
		at := fmt.Sprintf("plantao:channels[%d]", i)
		check(nameRE.MatchString(ch.Name), "%s.name: %q must be 1 to 40 of a-z, 0-9 and dashes", at, ch.Name)
		check(!seen[ch.Name], "%s.name: %q appears twice", at, ch.Name)
		seen[ch.Name] = true
		check(ch.Integration == "EVOLUTION" || ch.Integration == "WHATSAPP-BAILEYS", "%s.integration: %q is neither EVOLUTION nor WHATSAPP-BAILEYS", at, ch.Integration)
		check(ch.Integration != "EVOLUTION" || numberRE.MatchString(ch.Number), "%s.number: %q must be 8 to 15 digits with country code", at, ch.Number)
		check(nameRE.MatchString(ch.Flow), "%s.flow: %q must be the path of an n8n webhook: a-z, 0-9 and dashes", at, ch.Flow)
	}
	return bad
}

// plainText is one printable line without quotes: such values end in env files and YAML.
func plainText(s string) bool {
	return strings.TrimSpace(s) != "" && !strings.ContainsAny(s, "'\"\\\n\r\t$`")
}
