// Package ssm is absent, as ec2 is.
package ssm

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

type Client struct{}

func NewFromConfig(any) *Client { return &Client{} }

type DescribeInstanceInformationInput struct {
	Filters []types.InstanceInformationStringFilter
}

type DescribeInstanceInformationOutput struct {
	InstanceInformationList []types.InstanceInformation
}

type Paginator struct{}

func NewDescribeInstanceInformationPaginator(*Client, *DescribeInstanceInformationInput) Paginator {
	return Paginator{}
}

func (Paginator) HasMorePages() bool { return true }

func (Paginator) NextPage(context.Context) (*DescribeInstanceInformationOutput, error) {
	return nil, errors.New("no SSM in this program")
}
