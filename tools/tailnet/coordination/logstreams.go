package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"slices"
)

// awsAccount stands for the vendor's account, which assumes a customer's role.
const awsAccount = "123456789012"

// logstream says where logs go. Its secrets are taken and never shown.
type logstream struct {
	LogType              string   `json:"logType"`
	DestinationType      string   `json:"destinationType"`
	URL                  string   `json:"url,omitempty"`
	User                 string   `json:"user,omitempty"`
	Token                string   `json:"token,omitempty"`
	UploadPeriodMinutes  int      `json:"uploadPeriodMinutes,omitempty"`
	CompressionFormat    string   `json:"compressionFormat,omitempty"`
	S3Bucket             string   `json:"s3Bucket,omitempty"`
	S3Region             string   `json:"s3Region,omitempty"`
	S3KeyPrefix          string   `json:"s3KeyPrefix,omitempty"`
	S3AuthenticationType string   `json:"s3AuthenticationType,omitempty"`
	S3AccessKeyID        string   `json:"s3AccessKeyId,omitempty"`
	S3SecretAccessKey    string   `json:"s3SecretAccessKey,omitempty"`
	S3RoleARN            string   `json:"s3RoleArn,omitempty"`
	S3ExternalID         string   `json:"s3ExternalId,omitempty"`
	GCSBucket            string   `json:"gcsBucket,omitempty"`
	GCSKeyPrefix         string   `json:"gcsKeyPrefix,omitempty"`
	GCSScopes            []string `json:"gcsScopes,omitzero"`
	GCSCredentials       string   `json:"gcsCredentials,omitempty"`
}

var (
	logTypes     = []string{"configuration", "network"}
	destinations = []string{"splunk", "elastic", "panther", "cribl", "datadog", "axiom", "s3", "gcs"}
	compressions = []string{"none", "zstd", "gzip"}
	roleARN      = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/.+$`)
)

func (s *server) showLogstream(w http.ResponseWriter, r *http.Request) {
	if found := s.findLogstream(w, r); found != nil {
		shown := *found
		shown.Token, shown.S3SecretAccessKey = "", ""
		answer(w, shown)
	}
}

func (s *server) replaceLogstream(w http.ResponseWriter, r *http.Request) {
	asked := &logstream{}
	if !acceptsLogType(w, r) || !decode(w, r, asked) {
		return
	}
	asked.LogType = r.PathValue("logType")
	if asked.CompressionFormat == "" {
		asked.CompressionFormat = "none"
	}
	if said := asked.problem(); said != "" {
		refuse(w, http.StatusBadRequest, said)
		return
	}
	s.logstreams[asked.LogType] = asked
	answer(w, nil)
}

func (s *server) deleteLogstream(w http.ResponseWriter, r *http.Request) {
	if found := s.findLogstream(w, r); found != nil {
		delete(s.logstreams, found.LogType)
		answer(w, nil)
	}
}

func (s *server) findLogstream(w http.ResponseWriter, r *http.Request) *logstream {
	if !acceptsLogType(w, r) {
		return nil
	}
	found := s.logstreams[r.PathValue("logType")]
	if found == nil {
		refuse(w, http.StatusNotFound, "no log streaming is configured for "+r.PathValue("logType")+" logs")
	}
	return found
}

// acceptsLogType refuses a type of logs that there is none of.
func acceptsLogType(w http.ResponseWriter, r *http.Request) bool {
	if slices.Contains(logTypes, r.PathValue("logType")) {
		return true
	}
	refuse(w, http.StatusBadRequest, fmt.Sprintf("the log type must be one of %v", logTypes))
	return false
}

func (l *logstream) problem() string {
	switch {
	case !slices.Contains(destinations, l.DestinationType):
		return fmt.Sprintf("destinationType must be one of %v", destinations)
	case !slices.Contains(compressions, l.CompressionFormat):
		return fmt.Sprintf("compressionFormat must be one of %v", compressions)
	case l.UploadPeriodMinutes < 0:
		return "uploadPeriodMinutes is negative"
	case l.URL != "" && !isWebAddress(l.URL):
		return fmt.Sprintf("url %q is no http(s) URL", l.URL)
	}
	switch l.DestinationType {
	case "s3":
		return l.bucketProblem()
	case "gcs":
		return missing("gcsBucket", l.GCSBucket, "gcsCredentials", l.GCSCredentials)
	}
	return missing("url", l.URL, "token", l.Token)
}

func (l *logstream) bucketProblem() string {
	if said := missing("s3Bucket", l.S3Bucket, "s3Region", l.S3Region); said != "" {
		return said
	}
	switch l.S3AuthenticationType {
	case "accesskey":
		return missing("s3AccessKeyId", l.S3AccessKeyID, "s3SecretAccessKey", l.S3SecretAccessKey)
	case "rolearn":
		if !roleARN.MatchString(l.S3RoleARN) {
			return fmt.Sprintf("s3RoleArn %q is no ARN of a role", l.S3RoleARN)
		}
		return missing("s3ExternalId", l.S3ExternalID)
	}
	return "s3AuthenticationType must be one of [accesskey rolearn]"
}

// missing names the first field without a value; fields and values take turns.
func missing(pairs ...string) string {
	for at := 0; at < len(pairs); at += 2 {
		if pairs[at+1] == "" {
			return pairs[at] + " is required"
		}
	}
	return ""
}

// giveExternalID returns an id that AWS's trust policies can ask for; the same again where it may be used again.
func (s *server) giveExternalID(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Reusable bool }
	if !decode(w, r, &asked) {
		return
	}
	given := s.reusableID
	if !asked.Reusable || given == "" {
		given = rand.Text()
		s.externalIDs = append(s.externalIDs, given)
	}
	if asked.Reusable {
		s.reusableID = given
	}
	answer(w, map[string]string{"externalId": given, "tailscaleAwsAccountId": awsAccount})
}

// validateRole looks at the form alone: there is no AWS to ask here.
func (s *server) validateRole(w http.ResponseWriter, r *http.Request) {
	var asked struct{ RoleARN string }
	if !decode(w, r, &asked) {
		return
	}
	switch {
	case !slices.Contains(s.externalIDs, r.PathValue("id")):
		refuse(w, http.StatusNotFound, "external id not found")
	case !roleARN.MatchString(asked.RoleARN):
		refuse(w, http.StatusBadRequest, fmt.Sprintf("roleArn %q is no ARN of a role", asked.RoleARN))
	default:
		answer(w, nil)
	}
}
