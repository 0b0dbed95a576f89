// Command go-template-cases answers the templates of a case file by Go's text/template and sprig, the engine whose subset
// src/core/go-template is:
//
//	go run . ../go-template-cases.json > new.json && mv new.json ../go-template-cases.json
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

type caseFile struct {
	Note  string          `json:"note"`
	Data  json.RawMessage `json:"data"`
	Cases []templateCase  `json:"cases"`
}

// A case has a text or an error ("syntax" or "value"). Stricter says why our subset refuses what Go renders.
type templateCase struct {
	Template string  `json:"template"`
	Text     *string `json:"text,omitempty"`
	Error    string  `json:"error,omitempty"`
	Stricter string  `json:"stricter,omitempty"`
}

func answered(given templateCase, data any) templateCase {
	answer := templateCase{Template: given.Template, Stricter: given.Stricter}
	parsed, err := template.New("case").Funcs(sprig.TxtFuncMap()).Parse(given.Template)
	if err != nil {
		answer.Error = "syntax"
		return answer
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, data); err != nil {
		answer.Error = "value"
		return answer
	}
	text := out.String()
	answer.Text = &text
	return answer
}

// Whole numbers stay whole, as they are in what the API server sends.
func whole(value any) any {
	switch value := value.(type) {
	case json.Number:
		if number, err := value.Int64(); err == nil {
			return int(number)
		}
	case []any:
		for at := range value {
			value[at] = whole(value[at])
		}
	case map[string]any:
		for key := range value {
			value[key] = whole(value[key])
		}
	}
	return value
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("go-template-cases takes one operand: the case file; the answered one goes to stdout")
	}
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var file caseFile
	if err := json.Unmarshal(content, &file); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(file.Data))
	decoder.UseNumber()
	var data any
	if err := decoder.Decode(&data); err != nil {
		return err
	}
	data = whole(data)
	for at, given := range file.Cases {
		file.Cases[at] = answered(given, data)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(file)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
