package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	finalizer         = "connectors.alauda.io/access-cleanup"
	requestedBy       = "connectors.alauda.io/requested-by"
	rbacGroup         = "rbac.authorization.k8s.io"
	systemAccounts    = "system:serviceaccount:connectors-system:"
	contextLabel      = "connectors.cpaas.io/contextObject"
	connectorLabel    = "connectors.cpaas.io/connector"
	immutable         = "is immutable; delete this request, and another subject, Connector or Pod gets a request of its own"
	longestUID        = 253
	longestLabelValue = 63
)

// defaulter fills in what a request leaves out.
type defaulter struct {
	decoder admission.Decoder
}

func (d *defaulter) Handle(_ context.Context, req admission.Request) admission.Response {
	request := &accessRequest{}
	if err := d.decoder.Decode(req, request); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	old := &accessRequest{}
	if req.Operation == admissionv1.Update {
		if err := d.decoder.DecodeRaw(req.OldObject, old); err != nil {
			return admission.Errored(http.StatusBadRequest, err)
		}
	}
	if req.Operation == admissionv1.Update {
		setDefaultsOnUpdate(request, old)
	} else {
		setDefaultsOnCreate(request, req.UserInfo.Username)
	}
	after, err := json.Marshal(request)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, after)
}

func setDefaultsOnCreate(request *accessRequest, user string) {
	object := &request.Spec.Context.ObjectRef
	if object.APIVersion == "" {
		object.APIVersion = "v1"
	}
	if object.Kind == "" {
		object.Kind = "Pod"
	}
	if request.Spec.Subject.APIGroup == rbacGroup {
		request.Spec.Subject.APIGroup = ""
	}
	if !slices.Contains(request.Finalizers, finalizer) {
		request.Finalizers = append(request.Finalizers, finalizer)
	}
	isOurs := user == systemAccounts+"access-gate-webhook" || user == systemAccounts+"access-gate-csi"
	if !isOurs || request.Annotations[requestedBy] == "" {
		setRequester(request, user)
	}
	setLabels(request, request.Spec)
}

func setDefaultsOnUpdate(request, old *accessRequest) {
	setRequester(request, old.Annotations[requestedBy])
	setLabels(request, old.Spec)
}

func setRequester(request *accessRequest, user string) {
	if user == "" {
		delete(request.Annotations, requestedBy)
		return
	}
	if request.Annotations == nil {
		request.Annotations = map[string]string{}
	}
	request.Annotations[requestedBy] = user
}

func setLabels(request *accessRequest, spec accessRequestSpec) {
	if request.Labels == nil {
		request.Labels = map[string]string{}
	}
	object := spec.Context.ObjectRef
	request.Labels[contextLabel+"Kind"] = labelValue(object.Kind)
	request.Labels[contextLabel+"Name"] = labelValue(object.Name)
	request.Labels[contextLabel+"Namespace"] = labelValue(object.Namespace)
	request.Labels[connectorLabel] = labelValue(spec.ConnectorRef.Name)
}

func labelValue(text string) string {
	return text[:min(len(text), longestLabelValue)]
}

// validator refuses what does not hold the rules of a request.
type validator struct {
	decoder admission.Decoder
}

func (v *validator) Handle(_ context.Context, req admission.Request) admission.Response {
	request := &accessRequest{}
	if err := v.decoder.Decode(req, request); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if req.Operation == admissionv1.Update {
		old := &accessRequest{}
		if err := v.decoder.DecodeRaw(req.OldObject, old); err != nil {
			return admission.Errored(http.StatusBadRequest, err)
		}
		if request.Spec == old.Spec {
			return admission.Allowed("")
		}
		return refused(request, append(problems(request), field.Forbidden(field.NewPath("spec"), immutable)))
	}
	if found := problems(request); len(found) > 0 {
		return refused(request, found)
	}
	return admission.Allowed("")
}

func refused(request *accessRequest, found field.ErrorList) admission.Response {
	var status apierrors.APIStatus
	if !errors.As(apierrors.NewInvalid(groupVersion.WithKind("AccessRequest").GroupKind(), request.Name, found), &status) {
		return admission.Denied(found.ToAggregate().Error())
	}
	result := status.Status()
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Allowed: false, Result: &result}}
}

func named(path *field.Path, value string, check func(string) []string) (found field.ErrorList) {
	for _, message := range check(value) {
		found = append(found, field.Invalid(path, value, message))
	}
	return found
}

func exactly(path *field.Path, value, wanted string) field.ErrorList {
	if value == wanted {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, []string{wanted})}
}

func leftOut(path *field.Path, value string) field.ErrorList {
	if value == "" {
		return nil
	}
	return field.ErrorList{field.Forbidden(path, "must be left out")}
}

func problems(request *accessRequest) (found field.ErrorList) {
	spec := field.NewPath("spec")
	subjectPath, connectorPath, objectPath := spec.Child("subject"), spec.Child("connectorRef"), spec.Child("context", "objectRef")
	asked, connector, object := request.Spec.Subject, request.Spec.ConnectorRef, request.Spec.Context.ObjectRef

	found = append(found, exactly(subjectPath.Child("kind"), asked.Kind, "ServiceAccount")...)
	found = append(found, named(subjectPath.Child("name"), asked.Name, validation.IsDNS1123Subdomain)...)
	found = append(found, named(subjectPath.Child("namespace"), asked.Namespace, validation.IsDNS1123Label)...)
	found = append(found, exactly(subjectPath.Child("namespace"), asked.Namespace, object.Namespace)...)
	found = append(found, leftOut(subjectPath.Child("apiGroup"), asked.APIGroup)...)

	found = append(found, named(connectorPath.Child("name"), connector.Name, validation.IsDNS1123Subdomain)...)
	if connector.Namespace != "" {
		found = append(found, exactly(connectorPath.Child("namespace"), connector.Namespace, request.Namespace)...)
	}

	found = append(found, exactly(objectPath.Child("apiVersion"), object.APIVersion, "v1")...)
	found = append(found, exactly(objectPath.Child("kind"), object.Kind, "Pod")...)
	found = append(found, named(objectPath.Child("name"), object.Name, validation.IsDNS1123Subdomain)...)
	found = append(found, named(objectPath.Child("namespace"), object.Namespace, validation.IsDNS1123Label)...)
	if len(object.UID) > longestUID {
		found = append(found, field.TooLong(objectPath.Child("uid"), object.UID, longestUID))
	}
	found = append(found, leftOut(objectPath.Child("fieldPath"), object.FieldPath)...)
	found = append(found, leftOut(objectPath.Child("resourceVersion"), object.ResourceVersion)...)
	return found
}
