//go:build tools

// Package tools keeps the requirement of the program in go.mod.
package tools

import _ "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
