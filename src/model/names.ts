/** The format of configured names and paths, which stored data is also validated against. */

export const NAME_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

/** The characters that RFC 3986 allows in a path (with `/`) and in a query. */
export const PATH_PATTERN = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*$/;
