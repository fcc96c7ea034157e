package text

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		flag string
		env  map[string]string
		want Language
		fail bool
	}{
		"nothing is set":              {want: English},
		"the flag wins":               {flag: "pt-BR", env: map[string]string{"PLANTAO_LANG": "en", "LANG": "en_US.UTF-8"}, want: Portuguese},
		"then PLANTAO_LANG":           {env: map[string]string{"PLANTAO_LANG": "pt", "LC_ALL": "en_US.UTF-8"}, want: Portuguese},
		"then LC_ALL":                 {env: map[string]string{"LC_ALL": "pt_BR.UTF-8", "LC_MESSAGES": "en_US", "LANG": "en_US"}, want: Portuguese},
		"then LC_MESSAGES":            {env: map[string]string{"LC_MESSAGES": "pt_PT@euro", "LANG": "en_US"}, want: Portuguese},
		"then LANG":                   {env: map[string]string{"LANG": "pt_BR.UTF-8"}, want: Portuguese},
		"the first that is set":       {env: map[string]string{"LC_ALL": "C", "LANG": "pt_BR.UTF-8"}, want: English},
		"an unknown locale":           {env: map[string]string{"LANG": "de_DE.UTF-8"}, want: English},
		"an unknown flag":             {flag: "de", want: English, fail: true},
		"an unknown PLANTAO_LANG":     {env: map[string]string{"PLANTAO_LANG": "klingon"}, want: English, fail: true},
		"a word that begins like one": {flag: "ptolemaic", want: English, fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Choose(c.flag, func(name string) string { return c.env[name] })
			require.Equal(t, c.want, got)
			require.Equal(t, c.fail, err != nil)
		})
	}
}

func TestErrorsAreToldInTheReadersLanguage(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", Because(errors.New("dial tcp: refused"), DockerAwayHint, "tcp://x"))
	require.Equal(t, "o Docker não responde em tcp://x; veja: plantao doctor: dial tcp: refused", For(Portuguese).Error(err))
	require.Equal(t, "Docker does not answer at tcp://x; see: plantao doctor: dial tcp: refused", For(English).Error(err))
	require.Equal(t, "plain", For(Portuguese).Error(errors.New("plain")))
	require.ErrorContains(t, err, "Docker does not answer")
}

func TestMessagesInsideMessages(t *testing.T) {
	said := For(Portuguese).Say(DoctorWhy, New(WhyDocker))
	require.Equal(t, "       motivo: cada serviço do stack é um contêiner", said)
	require.Empty(t, For(English).Render(Message{}))
}
