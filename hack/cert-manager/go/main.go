// Runs the controllers of cert-manager that issue certificates from a CA in a Secret and put the CA into webhook
// configurations, without its admission webhook, its metrics and its leases: one process beside one API server.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
)

func run(ctx context.Context, kubeconfig string) error {
	issuing, err := newIssuing(ctx, kubeconfig)
	if err != nil {
		return fmt.Errorf("the certificate controllers: %w", err)
	}
	injecting, err := newInjecting(ctx, kubeconfig)
	if err != nil {
		return fmt.Errorf("the CA injector: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return issuing.run(ctx) })
	group.Go(func() error { return injecting.Start(ctx) })
	return group.Wait()
}

// Whoever started this process holds the other end of its standard input: when that process is gone, so is this one.
func endWithInput(stop func()) {
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
}

func main() {
	// Not the flags of the whole process: libraries have put some of their own there.
	flags := flag.NewFlagSet("cert-manager", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of an administrator")
	_ = flags.Parse(os.Args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go endWithInput(stop)
	if err := run(ctx, *kubeconfig); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "cert-manager ended: %v\n", err)
		os.Exit(1)
	}
}
