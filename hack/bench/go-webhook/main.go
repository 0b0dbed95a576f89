// An admission webhook as people write them in Go with controller-runtime: the benchmark runs it beside ours.
// It answers the same questions about AccessRequests, on the same paths, with the same rules.
package main

import (
	"context"
	"flag"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func serve(ctx context.Context, host string, port int, certDir string) error {
	scheme := runtime.NewScheme()
	if err := addToScheme(scheme); err != nil {
		return err
	}
	decoder := admission.NewDecoder(scheme)
	// TLS is left at the library's defaults; the API server offers HTTP/1.1 alone, and that is what is spoken then.
	server := webhook.NewServer(webhook.Options{Host: host, Port: port, CertDir: certDir})
	server.Register("/mutate/access-request", &admission.Webhook{Handler: &defaulter{decoder}})
	server.Register("/validate/access-request", &admission.Webhook{Handler: &validator{decoder}})
	return server.Start(ctx)
}

func main() {
	host := flag.String("host", "127.0.0.1", "address to listen on")
	port := flag.Int("port", 9443, "port to listen on")
	certDir := flag.String("cert-dir", "", "folder with tls.crt and tls.key")
	flag.Parse()
	log.SetLogger(zap.New())
	if err := serve(signals.SetupSignalHandler(), *host, *port, *certDir); err != nil {
		log.Log.Error(err, "the webhook server ended")
		os.Exit(1)
	}
}
