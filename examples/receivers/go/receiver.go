// A receiver of signed webhooks, with nothing but Go's standard library.
//
//	PORT=8080 WEBHOOK_SECRET=whsec_… go run receiver.go
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const tolerance = 5 * time.Minute

func isSigned(header http.Header, body, key []byte, now time.Time) bool {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	// One for each of the sender's secrets. == would allow timing attacks.
	for _, signature := range strings.Split(header.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(signature), []byte(expected)) {
			return true
		}
	}
	return false
}

// keyIn gives the key that the webhook is about; nil when the body is none that is understood here.
func keyIn(body []byte) *string {
	var webhook struct{ Data struct{ Key *string } }
	if json.Unmarshal(body, &webhook) != nil {
		return nil
	}
	return webhook.Data.Key
}

func main() {
	secret := strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_")
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(key) < 24 {
		log.Fatal("WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64")
	}

	// An application keeps the ids in a table, written in one transaction with the work: then
	// neither is there without the other.
	var ids sync.Map

	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		// The raw body: what json.Unmarshal and json.Marshal make of it has another signature.
		body, err := io.ReadAll(r.Body)
		if err != nil || !isSigned(r.Header, body, key, time.Now()) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		id := r.Header.Get("webhook-id")
		name := keyIn(body)
		if name == nil {
			// A route with a custom body. The id is not kept, so that a retry can succeed.
			log.Printf("%s: expected JSON with data.key", id)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if _, repeat := ids.LoadOrStore(id, true); repeat {
			fmt.Println(id, "repeat")
		} else {
			fmt.Printf("%s %q\n", id, *name) // in quotes: a key may hold a line break
		}
		w.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
