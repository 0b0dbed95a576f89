package certificate

import "github.com/go-acme/lego/v5/certcrypto"

type Resource struct {
	ID                      string
	Domains                 []string
	PrivateKey, Certificate []byte
}

type RenewOptions struct {
	Bundle, EnableCommonName bool
	EmailAddresses           []string
	Profile, PreferredChain  string
}

type ObtainRequest struct {
	Domains                  []string
	Bundle, EnableCommonName bool
	EmailAddresses           []string
	Profile, PreferredChain  string
	KeyType                  certcrypto.KeyType
}
