package main

import (
	_ "embed"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// The languages people are spoken to in.
const (
	english    = "en"
	portuguese = "pt-BR"
)

// textKey names a sentence of catalogue.yaml.
type textKey string

// Every sentence, once; the tests hold that this list and the file are the same.
const (
	keyUsage             textKey = "Usage"
	keyFailed            textKey = "Failed"
	keyNoTools           textKey = "NoTools"
	keyNoHome            textKey = "NoHome"
	keyNoGo              textKey = "NoGo"
	keyStillWorking      textKey = "StillWorking"
	keyWaitingForOther   textKey = "WaitingForOther"
	keyNoDisk            textKey = "NoDisk"
	keyBuilding          textKey = "Building"
	keyBuilt             textKey = "Built"
	keyReady             textKey = "Ready"
	keyOfficial          textKey = "Official"
	keyTooOld            textKey = "TooOld"
	keyDownloading       textKey = "Downloading"
	keyDownloaded        textKey = "Downloaded"
	keyDownloadFailed    textKey = "DownloadFailed"
	keyBuildFailed       textKey = "BuildFailed"
	keyModuleChanged     textKey = "ModuleChanged"
	keyPluginBlocked     textKey = "PluginBlocked"
	keyEngineRunning     textKey = "EngineRunning"
	keyEngineContext     textKey = "EngineContext"
	keyEngineStarting    textKey = "EngineStarting"
	keyEngineStarted     textKey = "EngineStarted"
	keyEngineDenied      textKey = "EngineDenied"
	keyEngineHostDown    textKey = "EngineHostDown"
	keyEngineNotOurs     textKey = "EngineNotOurs"
	keyEngineDied        textKey = "EngineDied"
	keyPackagesReady     textKey = "PackagesReady"
	keyPackagesInstall   textKey = "PackagesInstall"
	keyPackagesInstalled textKey = "PackagesInstalled"
	keyPackagesByHand    textKey = "PackagesByHand"
	keyPackagesOtherOS   textKey = "PackagesOtherOS"
	keyPackagesFailed    textKey = "PackagesFailed"
	keyAptBusy           textKey = "AptBusy"
	keyAptStillBusy      textKey = "AptStillBusy"
	keyVulnsUnreachable  textKey = "VulnsUnreachable"
)

//go:embed catalogue.yaml
var catalogueFile []byte

// catalogue holds the sentences of one language.
type catalogue map[textKey]string

// readCatalogue returns every sentence in every language: key → language → text.
func readCatalogue() (map[textKey]map[string]string, error) {
	var all map[textKey]map[string]string
	if err := yaml.Unmarshal(catalogueFile, &all); err != nil {
		return nil, fmt.Errorf("read the catalogue of sentences: %w", err)
	}
	return all, nil
}

func loadCatalogue(lang string) (catalogue, error) {
	all, err := readCatalogue()
	if err != nil {
		return nil, err
	}
	one := catalogue{}
	for key, texts := range all {
		one[key] = texts[lang]
	}
	return one, nil
}

func (c catalogue) text(key textKey, args ...any) string {
	text, ok := c[key]
	if !ok {
		return string(key) + ": " + fmt.Sprint(args...)
	}
	return fmt.Sprintf(text, args...)
}

// language follows PLANTAO_LANG, then the locale (LC_ALL, LC_MESSAGES, LANG): the first that is set decides. Any
// Portuguese is answered in Brazilian Portuguese, everything else in English.
func language(getenv func(string) string) string {
	for _, name := range []string{"PLANTAO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := getenv(name); value != "" {
			if lower := strings.ToLower(value); lower == "pt" || strings.HasPrefix(lower, "pt_") || strings.HasPrefix(lower, "pt-") || strings.HasPrefix(lower, "pt.") {
				return portuguese
			}
			return english
		}
	}
	return english
}
