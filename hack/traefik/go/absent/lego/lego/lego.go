package lego

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/certificate"
	"github.com/go-acme/lego/v5/challenge/dns01"
	"github.com/go-acme/lego/v5/registration"
)

const DirectoryURLLetsEncrypt = ""

var errNone = errors.New("no ACME in this program")

type Config struct {
	CADirURL, UserAgent string
	HTTPClient          *http.Client
	Certificate         struct{ Timeout time.Duration }
}

type Client struct {
	Challenge    challenges
	Certificate  certificates
	Registration registrations
}

func NewConfig(any) *Config { return &Config{} }

func NewClient(*Config) (*Client, error) { return nil, errNone }

func CreateCertPool([]string, bool) (*x509.CertPool, error) { return nil, errNone }

type challenges struct{}

func (challenges) SetDNS01Provider(any, ...dns01.ChallengeOption) error { return errNone }
func (challenges) SetHTTP01Provider(any, any) error                     { return errNone }
func (challenges) SetTLSALPN01Provider(any, any) error                  { return errNone }

type certificates struct{}

func (certificates) Obtain(context.Context, certificate.ObtainRequest) (*certificate.Resource, error) {
	return nil, errNone
}

func (certificates) Renew(context.Context, certificate.Resource, *certificate.RenewOptions) (*certificate.Resource, error) {
	return nil, errNone
}

type registrations struct{}

func (registrations) Register(context.Context, registration.RegisterOptions) (*acme.ExtendedAccount, error) {
	return nil, errNone
}

func (registrations) RegisterWithExternalAccountBinding(context.Context, registration.RegisterEABOptions) (*acme.ExtendedAccount, error) {
	return nil, errNone
}
