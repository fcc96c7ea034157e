package text

import "strings"

// Choose picks the language: flag (the value of --lang, empty when not given), then PLANTAO_LANG, then
// the locale as POSIX orders it (LC_ALL, LC_MESSAGES, LANG), then English. Only the first variable
// that is set counts, as for any other program. A flag or PLANTAO_LANG that names no language of the
// catalogue is an error (with English chosen, so that it can be told); an unknown locale is English.
func Choose(flag string, getenv func(string) string) (Language, error) {
	for _, asked := range []string{flag, getenv("PLANTAO_LANG")} {
		if asked == "" {
			continue
		}
		if language, ok := match(asked); ok {
			return language, nil
		}
		return English, Fail(LanguageUnknown, asked, join(Languages()))
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if locale := getenv(name); locale != "" {
			language, _ := match(locale)
			return language, nil
		}
	}
	return English, nil
}

// match reads a tag ("pt-BR", "pt") or a locale ("pt_BR.UTF-8@euro"). Any Portuguese gets Brazilian
// Portuguese: closer to its reader than English is.
func match(tag string) (Language, bool) {
	tag, _, _ = strings.Cut(tag, ".")
	tag, _, _ = strings.Cut(tag, "@")
	primary, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(tag), "_", "-"), "-")
	switch primary {
	case "pt":
		return Portuguese, true
	case "en":
		return English, true
	}
	return English, false
}

func join(languages []Language) string {
	names := make([]string, len(languages))
	for i, language := range languages {
		names[i] = string(language)
	}
	return strings.Join(names, ", ")
}
