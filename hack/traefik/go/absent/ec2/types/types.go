package types

type InstanceStateName string

const InstanceStateNameRunning InstanceStateName = "running"

type State struct{ Name InstanceStateName }

type Instance struct {
	InstanceId, PrivateIpAddress *string
	State                        *State
}

type Reservation struct{ Instances []Instance }
