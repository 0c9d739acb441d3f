/** The types of a reload of the configuration. */

/** What caused a reload: SIGHUP, the API, or a file that has changed. */
export type ReloadTrigger = 'signal' | 'api' | 'file';

export type ReloadResult =
  /** `keys`: what has changed, such as `endpoints.shop`; empty: nothing. */
  | { readonly kind: 'applied'; readonly keys: readonly string[] }
  /** The previous configuration goes on. `mistakes`: one line each. */
  | { readonly kind: 'invalid'; readonly mistakes: readonly string[] }
  /** The previous configuration goes on. `keys`: what cannot be changed while the relay runs. */
  | { readonly kind: 'restart_required'; readonly keys: readonly string[] };
