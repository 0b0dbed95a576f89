// Runs Traefik's own server with one entry point for TLS, which reads its routes from Kubernetes as IngressRoute and
// Middleware objects: without ACME, plugins, metrics and the other providers.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	ptypes "github.com/traefik/paerser/types"
	"github.com/traefik/traefik/v3/cmd"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/config/runtime"
	"github.com/traefik/traefik/v3/pkg/config/static"
	"github.com/traefik/traefik/v3/pkg/observability/metrics"
	"github.com/traefik/traefik/v3/pkg/provider/aggregator"
	"github.com/traefik/traefik/v3/pkg/provider/kubernetes/crd"
	"github.com/traefik/traefik/v3/pkg/provider/traefik"
	"github.com/traefik/traefik/v3/pkg/proxy/httputil"
	"github.com/traefik/traefik/v3/pkg/safe"
	"github.com/traefik/traefik/v3/pkg/server"
	"github.com/traefik/traefik/v3/pkg/server/middleware"
	"github.com/traefik/traefik/v3/pkg/server/service"
	"github.com/traefik/traefik/v3/pkg/tcp"
	"github.com/traefik/traefik/v3/pkg/tls"
)

// The example's name for it.
const entryPoint = "websecure"

// Everything that is not said here is Traefik's own default.
func settings(address string) (static.Configuration, error) {
	configuration := cmd.NewTraefikConfiguration().Configuration
	configuration.Global.CheckNewVersion = false
	websecure := &static.EntryPoint{}
	websecure.SetDefaults()
	websecure.Address = address
	// Who stops it waits for nobody.
	websecure.Transport.LifeCycle.GraceTimeOut = ptypes.Duration(time.Second)
	configuration.EntryPoints[entryPoint] = websecure
	// A Service that stands for a port of this machine can only be one with an external name.
	configuration.Providers.KubernetesCRD = &crd.Provider{AllowCrossNamespace: true, AllowExternalNameServices: true}
	configuration.SetEffectiveConfiguration()
	return configuration, configuration.ValidateConfiguration()
}

func newServer(ctx context.Context, address string) (*server.Server, error) {
	configuration, err := settings(address)
	if err != nil {
		return nil, fmt.Errorf("the settings: %w", err)
	}
	pool := safe.NewPool(ctx)
	registry := metrics.NewVoidRegistry()
	observability := middleware.NewObservabilityMgr(configuration, registry, nil, nil, nil, nil)
	entryPoints, err := server.NewTCPEntryPoints(configuration.EntryPoints, nil, registry)
	if err != nil {
		return nil, fmt.Errorf("the entry point: %w", err)
	}
	certificates := tls.NewManager(nil)
	transports := service.NewTransportManager(nil)
	dialers := tcp.NewDialerManager(nil)
	proxies := httputil.NewProxyBuilder(transports, nil)
	managers := service.NewManagerFactory(configuration, pool, observability, transports, proxies, nil, certificates)
	routers, err := server.NewRouterFactory(configuration, managers, certificates, observability, nil, dialers)
	if err != nil {
		return nil, fmt.Errorf("the router: %w", err)
	}
	providers := aggregator.NewProviderAggregator(*configuration.Providers)
	if err := providers.AddProvider(traefik.New(configuration)); err != nil {
		return nil, fmt.Errorf("the internal provider: %w", err)
	}
	watcher := server.NewConfigurationWatcher(pool, providers, []string{entryPoint}, traefik.ProviderName, false)
	watcher.AddListener(func(found dynamic.Configuration) {
		certificates.UpdateConfigs(ctx, found.TLS.Stores, found.TLS.Options, found.TLS.Certificates)
		transports.Update(found.HTTP.ServersTransports)
		proxies.Update(found.HTTP.ServersTransports)
		dialers.Update(found.TCP.ServersTransports)
		tcpRouters, _ := routers.CreateRouters(runtime.NewConfig(found))
		entryPoints.Switch(tcpRouters)
	})
	return server.NewServer(pool, entryPoints, nil, watcher, observability), nil
}

func main() {
	flags := flag.NewFlagSet("traefik", flag.ExitOnError)
	address := flags.String("address", "", "host:port to listen on")
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of whoever may read the routes")
	_ = flags.Parse(os.Args[1:])
	zerolog.SetGlobalLevel(zerolog.WarnLevel)
	// The provider takes it from nowhere else.
	_ = os.Setenv("KUBECONFIG", *kubeconfig)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	running, err := newServer(ctx, *address)
	if err != nil {
		fmt.Fprintf(os.Stderr, "traefik did not start: %v\n", err)
		os.Exit(1)
	}
	running.Start(ctx)
	running.Wait()
}
