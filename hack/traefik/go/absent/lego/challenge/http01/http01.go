package http01

import "time"

const PathPrefix = "/.well-known/acme-challenge/"

type Delay struct{}

func SetDelay(time.Duration) Delay { return Delay{} }
