/** The form of the names and paths of the file, which stored data is checked against, too. */

export const NAME_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

/** What RFC 3986 allows in a path (with `/`) and in a query. */
export const PATH_PATTERN = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*$/;
