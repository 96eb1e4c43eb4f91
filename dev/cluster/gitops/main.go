// What the tools of others say of an object, by their own libraries: `kstatus` its status as kpt and Flux
// compute it, `decode` whether it is of the type that it claims to be. Objects are read from standard
// input as JSON, one after the other; for each a line of JSON is printed.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	flux "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomize "github.com/fluxcd/kustomize-controller/api/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// Flux has a fork of the library.
type answer struct {
	Status  string `json:"status,omitempty"`
	Flux    string `json:"flux,omitempty"`
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

func main() {
	judge, known := map[string]func([]byte) (answer, error){"kstatus": status, "decode": decode}[os.Args[len(os.Args)-1]]
	if !known {
		log.Fatal("usage: gitops kstatus|decode < objects.json")
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var object json.RawMessage
		if err := in.Decode(&object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		said, err := judge(object)
		if err != nil {
			said = answer{Error: err.Error()}
		}
		if err := out.Encode(said); err != nil {
			log.Fatal(err)
		}
	}
}

func status(object []byte) (answer, error) {
	seen := &unstructured.Unstructured{}
	if err := seen.UnmarshalJSON(object); err != nil {
		return answer{}, err
	}
	original, err := kstatus.Compute(seen)
	if err != nil {
		return answer{}, err
	}
	fork, err := flux.Compute(seen)
	if err != nil {
		return answer{}, err
	}
	return answer{Status: string(original.Status), Flux: string(fork.Status), Message: original.Message}, nil
}

// An unknown field is an error, as it is to a strict API server.
func decode(object []byte) (answer, error) {
	var named struct{ APIVersion, Kind string }
	if err := json.Unmarshal(object, &named); err != nil {
		return answer{}, err
	}
	into, known := map[string]any{
		"kustomize.toolkit.fluxcd.io/v1 Kustomization": &kustomize.Kustomization{},
		"monitoring.coreos.com/v1 PodMonitor":          &monitoring.PodMonitor{},
		"monitoring.coreos.com/v1 PrometheusRule":      &monitoring.PrometheusRule{},
	}[named.APIVersion+" "+named.Kind]
	if !known {
		return answer{}, fmt.Errorf("no type for %s %s", named.APIVersion, named.Kind)
	}
	strict := json.NewDecoder(bytes.NewReader(object))
	strict.DisallowUnknownFields()
	return answer{}, strict.Decode(into)
}
