//go:build tools

// Package tools keeps the requirements of kubelet in go.mod.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kubelet"
)
