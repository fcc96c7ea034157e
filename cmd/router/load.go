package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	koanfmaps "github.com/knadh/koanf/maps"
	"github.com/knadh/koanf/v2"
	"gopkg.in/yaml.v3"
)

const envPrefix = "ROUTER_"

// values is a layer of configuration that is already a nested map.
type values map[string]any

// ReadBytes implements koanf.Provider; this layer has no bytes to parse.
func (values) ReadBytes() ([]byte, error) { return nil, errors.New("a map has no bytes") }

// Read implements koanf.Provider.
func (v values) Read() (map[string]any, error) { return v, nil }

// sources are the layers above the defaults, lowest first.
type sources struct {
	file    string   // path of the YAML file; empty: none
	environ []string // as os.Environ gives it
	flags   map[string]string
	secrets []string // keys refused in the file
}

// load fills target, whose present values are the defaults, and reports every unknown key and every value that does not
// fit its field. What the values mean is for the caller to check.
func load(s sources, target any, p *problems) {
	k := koanf.New(".")
	s.addFile(k, p)
	addLayer(k, envLayer(s.environ), p)
	flags := map[string]any{}
	for key, value := range s.flags {
		flags[key] = value
	}
	addLayer(k, flags, p)

	for _, key := range unknownKeys("", k.Raw(), reflect.TypeOf(target).Elem()) {
		p.add("%s: unknown key", key)
	}
	err := k.UnmarshalWithConf("", target, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: target, WeaklyTypedInput: true, TagName: "koanf",
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.TextUnmarshallerHookFunc()),
	}})
	for _, e := range flatten(err) {
		p.add("%v", e)
	}
}

// unknownKeys lists the keys of value that have no field in t, in order. mapstructure can do this too, but stops listing at
// the first value that does not fit its field.
func unknownKeys(path string, value any, t reflect.Type) []string {
	var unknown []string
	switch v := value.(type) {
	case map[string]any:
		if t.Kind() != reflect.Struct {
			return nil // the decoder says that it does not fit
		}
		fields := map[string]reflect.Type{}
		for i := range t.NumField() {
			if tag := t.Field(i).Tag.Get("koanf"); tag != "" {
				fields[tag] = t.Field(i).Type
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			full := strings.TrimPrefix(path+"."+key, ".")
			field, known := fields[key]
			switch {
			case !known:
				unknown = append(unknown, full)
			case nested(field):
				unknown = append(unknown, unknownKeys(full, v[key], field)...)
			}
		}
	case []any:
		for i, item := range v {
			if t.Kind() == reflect.Slice {
				unknown = append(unknown, unknownKeys(fmt.Sprintf("%s[%d]", path, i), item, t.Elem())...)
			}
		}
	}
	return unknown
}

// nested says whether keys can stand below a field: in a struct of ours or a list of them, not in a Secret.
func nested(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[Secret]()
}

func (s sources) addFile(k *koanf.Koanf, p *problems) {
	if s.file == "" {
		return
	}
	data, err := os.ReadFile(s.file)
	if err != nil {
		p.add("read configuration: %v", err)
		return
	}
	layer := map[string]any{}
	if err := yaml.Unmarshal(data, &layer); err != nil {
		p.add("read configuration %s: %v", s.file, err)
		return
	}
	flat, _ := koanfmaps.Flatten(layer, nil, ".")
	for _, key := range s.secrets {
		if _, found := flat[key]; found {
			p.add("%s: a secret may not stand in the file; use %s_file or %s", key, key, envName(key))
		}
	}
	if err := k.Load(values(layer), nil); err != nil {
		p.add("read configuration %s: %v", s.file, err)
	}
}

func addLayer(k *koanf.Koanf, flat map[string]any, p *problems) {
	if err := k.Load(values(koanfmaps.Unflatten(flat, ".")), nil); err != nil {
		p.add("read configuration: %v", err)
	}
}

// envLayer turns ROUTER_DATABASE__MAX_CONNS=9 into database.max_conns.
func envLayer(environ []string) map[string]any {
	layer := map[string]any{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if rest, ok := strings.CutPrefix(name, envPrefix); ok {
			layer[strings.ReplaceAll(strings.ToLower(rest), "__", ".")] = value
		}
	}
	return layer
}

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

// flatten takes joined errors apart, so that each becomes a line of its own.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// loadServe loads and validates what `router serve` needs.
func loadServe(s sources) (serveConfig, error) {
	c, p := decodeServe(s)
	c.validate(&p)
	return c, p.err()
}

// loadMigrate validates only the database: the migration job has no other secret.
func loadMigrate(s sources) (serveConfig, error) {
	c, p := decodeServe(s)
	c.Database.validate(&p)
	return c, p.err()
}

func decodeServe(s sources) (serveConfig, problems) {
	var p problems
	c := defaultServeConfig()
	s.secrets = serveSecretKeys
	load(s, &c, &p)
	return c, p
}

func usage(format string, args ...any) error {
	return &configError{problems: problems{fmt.Sprintf(format, args...)}}
}
