<?php

/**
 * A receiver of signed webhooks, with nothing but PHP 8.
 *
 *     WEBHOOK_SECRET=whsec_… php -S 127.0.0.1:8080 receiver.php
 */

declare(strict_types=1);

const TOLERANCE_S = 5 * 60;

function isSigned(string $id, string $timestamp, string $signatures, string $body): bool
{
    $key = base64_decode(substr(getenv('WEBHOOK_SECRET') ?: '', strlen('whsec_')), strict: true);
    if ($key === false || strlen($key) < 24) {
        throw new RuntimeException('WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64');
    }
    if ($id === '' || !ctype_digit($timestamp) || abs(time() - (int) $timestamp) > TOLERANCE_S) {
        return false;
    }
    $expected = base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, binary: true));
    // One for each of the sender's secrets. `===` would allow timing attacks.
    foreach (explode(' ', $signatures) as $signature) {
        if (hash_equals("v1,$expected", $signature)) {
            return true;
        }
    }
    return false;
}

/** The key that the webhook is about; null when the body is none that is understood here. */
function keyIn(string $body): ?string
{
    $key = json_decode($body, associative: true)['data']['key'] ?? null;
    return is_string($key) ? $key : null;
}

/** PHP forgets everything after each request: a file for each id. A table with a key is better. */
function isFirst(string $id): bool
{
    $folder = sys_get_temp_dir() . '/webhook-ids';
    is_dir($folder) || mkdir($folder);
    return @fopen($folder . '/' . hash('sha256', $id), 'x') !== false;
}

// Until all is done: an error that nobody caught must not look like success.
http_response_code(500);

$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
$timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
$signatures = $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '';
// The raw body: what json_decode and json_encode make of it has another signature.
$body = file_get_contents('php://input');

if (!isSigned($id, $timestamp, $signatures, $body)) {
    http_response_code(401);
    return;
}
$key = keyIn($body);
if ($key === null) {
    // A route with a custom body. The id is not kept, so that a retry can succeed.
    error_log("$id: expected JSON with data.key");
    http_response_code(400);
    return;
}
if (isFirst($id)) {
    // As JSON: a key may hold a line break.
    $line = json_encode($key, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
} else {
    $line = 'repeat';
}
file_put_contents('php://stdout', "$id $line\n");
http_response_code(204);
