<?php

/** What the three scripts share: where the database and Redis are, from the environment. */

declare(strict_types=1);

function setting(string $name): string
{
    $value = getenv($name);
    if ($value === false || $value === '') {
        throw new RuntimeException("$name: expected a value in the environment, found none");
    }
    return $value;
}

/** DB_DSN is PDO's: `mysql:host=127.0.0.1;dbname=shop;charset=utf8mb4`. */
function database(): PDO
{
    return new PDO(setting('DB_DSN'), setting('DB_USER'), getenv('DB_PASSWORD') ?: null, [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        // Seconds to connect: the relay waits for an answer, and comes again after a 5xx.
        PDO::ATTR_TIMEOUT => 5,
    ]);
}

/** REDIS_URL: `redis://127.0.0.1:6379`, or with `user:password@` and a database's number. */
function redis(): Redis
{
    $url = parse_url(setting('REDIS_URL'));
    $host = $url['host'] ?? '127.0.0.1';
    $redis = new Redis();
    $redis->connect(
        ($url['scheme'] ?? '') === 'rediss' ? "tls://$host" : $host,
        $url['port'] ?? 6379,
        timeout: 5,
    );
    if (isset($url['pass'])) {
        $user = rawurldecode($url['user'] ?? '');
        $password = rawurldecode($url['pass']);
        $redis->auth($user === '' ? $password : [$user, $password]);
    }
    $database = (int) ltrim($url['path'] ?? '', '/');
    if ($database !== 0) {
        $redis->select($database);
    }
    return $redis;
}
