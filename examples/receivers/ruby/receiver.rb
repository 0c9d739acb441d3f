# frozen_string_literal: true

# A receiver of signed webhooks: OpenSSL of Ruby's standard library, and WEBrick for HTTP.
#
#     gem install webrick
#     PORT=8080 WEBHOOK_SECRET=whsec_… ruby receiver.rb

require 'json'
require 'openssl'
require 'set'
require 'webrick'

TOLERANCE_S = 5 * 60

KEY = ENV.fetch('WEBHOOK_SECRET').delete_prefix('whsec_').unpack1('m')
abort 'WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64' if KEY.bytesize < 24

def signed?(id, timestamp, signatures, body)
  return false if id.to_s.empty? || signatures.nil?
  return false unless timestamp&.match?(/\A\d+\z/)
  return false if (Time.now.to_i - timestamp.to_i).abs > TOLERANCE_S

  mac = OpenSSL::HMAC.digest('SHA256', KEY, "#{id}.#{timestamp}.#{body}")
  expected = "v1,#{[mac].pack('m0')}"
  # One for each of the sender's secrets. == would allow timing attacks.
  signatures.split.any? { |signature| OpenSSL.secure_compare(signature, expected) }
end

# The key that the webhook is about; nil when the body is none that is understood here.
def key_in(body)
  webhook = JSON.parse(body)
  data = webhook['data'] if webhook.is_a?(Hash)
  key = data['key'] if data.is_a?(Hash)
  key if key.is_a?(String)
rescue JSON::ParserError
  nil
end

# An application keeps them in a table, written in one transaction with the work: then neither is
# there without the other.
ids = Set.new
ids_lock = Mutex.new

$stdout.sync = true
server = WEBrick::HTTPServer.new(
  BindAddress: '127.0.0.1', Port: Integer(ENV.fetch('PORT')),
  AccessLog: [], Logger: WEBrick::Log.new($stderr, WEBrick::Log::WARN)
)
server.mount_proc('/') do |request, response|
  # The raw body: what JSON.parse and to_json make of it has another signature.
  body = request.body.to_s
  id = request['webhook-id']
  if !signed?(id, request['webhook-timestamp'], request['webhook-signature'], body)
    response.status = 401
  elsif (key = key_in(body)).nil?
    # A route with a custom body. The id is not kept, so that a retry can succeed.
    warn "#{id}: expected JSON with data.key"
    response.status = 400
  else
    first = ids_lock.synchronize { ids.add?(id) }
    # As JSON: a key may hold a line break.
    puts "#{id} #{first ? key.to_json : 'repeat'}"
    response.status = 204
  end
end
trap('TERM') { server.shutdown }
server.start
