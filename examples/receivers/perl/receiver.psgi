# A receiver of signed webhooks: Perl's own modules, and Plack for HTTP.
#
#     WEBHOOK_SECRET=whsec_… plackup --env deployment --listen 127.0.0.1:8080 receiver.psgi

use v5.36;
use open qw(:std :encoding(UTF-8));
use Digest::SHA  qw(hmac_sha256);
use JSON::PP     ();
use MIME::Base64 qw(decode_base64 encode_base64);
use Plack::Request;

use constant TOLERANCE_S => 5 * 60;

my $key = decode_base64(($ENV{WEBHOOK_SECRET} // '') =~ s/^whsec_//r);
die "WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64\n" if length $key < 24;

STDOUT->autoflush(1);

# `eq` would allow timing attacks; tr compares every byte.
sub equals_in_constant_time ($one, $other) {
    return 0 if length $one != length $other;
    my $difference = $one ^. $other;
    return ($difference =~ tr/\0//c) == 0;
}

sub is_signed ($headers, $body) {
    my ($id, $timestamp) = map { $headers->header($_) // '' } qw(webhook-id webhook-timestamp);
    return 0 if $id eq '' || $timestamp !~ /\A[0-9]+\z/a;
    return 0 if abs(time - $timestamp) > TOLERANCE_S;
    my $expected = 'v1,' . encode_base64(hmac_sha256("$id.$timestamp.$body", $key), '');
    # One for each of the sender's secrets.
    my @offered = split / /, $headers->header('webhook-signature') // '';
    return scalar grep { equals_in_constant_time($_, $expected) } @offered;
}

# The key that the webhook is about; undef when the body is none that is understood here.
sub key_in ($body) {
    my $key = eval { JSON::PP::decode_json($body)->{data}{key} };
    return ref $key ? undef : $key;
}

# An application keeps them in a table, written in one transaction with the work: then neither is
# there without the other. With several processes there is no other way.
my %ids;
my $json = JSON::PP->new->allow_nonref;

sub ($env) {
    my $request = Plack::Request->new($env);
    # The raw body: what is decoded and encoded again has another signature.
    my $body = $request->raw_body;
    return [401, [], []] unless is_signed($request->headers, $body);
    my $id = $request->header('webhook-id');
    my $name = key_in($body);
    if (!defined $name) {
        # A route with a custom body. The id is not kept, so that a retry can succeed.
        warn "$id: expected JSON with data.key\n";
        return [400, [], []];
    }
    # As JSON: a key may hold a line break.
    say "$id ", $ids{$id}++ ? 'repeat' : $json->encode($name);
    return [204, [], []];
};
