package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var groupVersion = schema.GroupVersion{Group: "connectors.alauda.io", Version: "v1alpha1"}

type subject struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	APIGroup  string `json:"apiGroup,omitempty"`
}

type connectorReference struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

type objectReference struct {
	APIVersion      string `json:"apiVersion,omitempty"`
	Kind            string `json:"kind,omitempty"`
	Name            string `json:"name"`
	Namespace       string `json:"namespace"`
	UID             string `json:"uid,omitempty"`
	FieldPath       string `json:"fieldPath,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

type requestContext struct {
	ObjectRef objectReference `json:"objectRef"`
}

type accessRequestSpec struct {
	Subject      subject            `json:"subject"`
	ConnectorRef connectorReference `json:"connectorRef"`
	Context      requestContext     `json:"context"`
}

type matchedPolicy struct {
	Name string `json:"name"`
	// The snapshot is the controller's business; a webhook that only guards the spec carries it along.
	PolicySpec     runtime.RawExtension   `json:"policySpec"`
	Checks         []runtime.RawExtension `json:"checks,omitempty"`
	Rules          []runtime.RawExtension `json:"rules,omitempty"`
	Unbound        bool                   `json:"unbound,omitempty"`
	MatchedChecks  []runtime.RawExtension `json:"matchedChecks,omitempty"`
	PermissionSync *metav1.Condition      `json:"permissionSync,omitempty"`
}

type accessRequestStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	ContextUID         string             `json:"contextUID,omitempty"`
	ConnectorUID       string             `json:"connectorUID,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	Policies           []matchedPolicy    `json:"policies,omitempty"`
}

type accessRequest struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              accessRequestSpec    `json:"spec"`
	Status            *accessRequestStatus `json:"status,omitempty"`
}

func addToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypeWithName(groupVersion.WithKind("AccessRequest"), &accessRequest{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	return nil
}

func copyExtensions(in []runtime.RawExtension) []runtime.RawExtension {
	if in == nil {
		return nil
	}
	out := make([]runtime.RawExtension, len(in))
	for i := range in {
		in[i].DeepCopyInto(&out[i])
	}
	return out
}

func (in *matchedPolicy) deepCopyInto(out *matchedPolicy) {
	*out = *in
	in.PolicySpec.DeepCopyInto(&out.PolicySpec)
	out.Checks = copyExtensions(in.Checks)
	out.Rules = copyExtensions(in.Rules)
	out.MatchedChecks = copyExtensions(in.MatchedChecks)
	out.PermissionSync = in.PermissionSync.DeepCopy()
}

func (in *accessRequestStatus) deepCopy() *accessRequestStatus {
	if in == nil {
		return nil
	}
	out := *in
	if in.Conditions != nil {
		out.Conditions = make([]metav1.Condition, len(in.Conditions))
		for i := range in.Conditions {
			in.Conditions[i].DeepCopyInto(&out.Conditions[i])
		}
	}
	if in.Policies != nil {
		out.Policies = make([]matchedPolicy, len(in.Policies))
		for i := range in.Policies {
			in.Policies[i].deepCopyInto(&out.Policies[i])
		}
	}
	return &out
}

func (in *accessRequest) deepCopy() *accessRequest {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status = in.Status.deepCopy()
	return &out
}

// DeepCopyObject makes an accessRequest a runtime.Object.
func (in *accessRequest) DeepCopyObject() runtime.Object {
	return in.deepCopy()
}
