/** How a webhook's request is built, apart from its URL. Types, and the configuration's words for them. */

export const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE'] as const;
export type Method = (typeof METHODS)[number];

/** The content types of a template. */
export const TEMPLATE_CONTENT_TYPES = [
  'application/json',
  'application/x-www-form-urlencoded',
] as const;
export type TemplateContentType = (typeof TEMPLATE_CONTENT_TYPES)[number];

/** The configuration's word for a request without a body. */
export const NO_BODY = 'none';

export type ContentType = TemplateContentType | 'application/cloudevents+json; charset=utf-8';

/** The reference of a template's `{…}`. */
export interface Reference {
  /** One of PLACEHOLDER_NAMES, or a capture of the route's pattern. */
  readonly name: string;
  /** The path into a value: names of fields and list indexes, outermost first. */
  readonly fields: readonly string[];
}

/** The encoding of a referenced value, which keeps the value within its place. */
export type Writing =
  /** A JSON value of its own type. */
  | 'json_value'
  /** Part of a JSON string. */
  | 'json_text'
  /** A form field. */
  | 'form_field';

/** A piece of a compiled template: a literal string, or a reference. */
export type TemplatePiece = string | { readonly reference: Reference; readonly writing: Writing };

/** The format of a route's request bodies, from the configuration. */
export type BodyFormat =
  | { readonly kind: 'standard' }
  /** Only headers are sent. */
  | { readonly kind: 'none' }
  /** CloudEvents 1.0, structured mode. */
  | {
      readonly kind: 'cloudevents';
      /** The attribute `source`: a URI reference. */
      readonly source: string;
    }
  | {
      readonly kind: 'template';
      readonly contentType: TemplateContentType;
      readonly pieces: readonly TemplatePiece[];
    };

/** Null for a request without a body. */
export function contentTypeOf(format: BodyFormat): ContentType | null {
  switch (format.kind) {
    case 'none':
      return null;
    case 'standard':
      return 'application/json';
    case 'cloudevents':
      return 'application/cloudevents+json; charset=utf-8';
    case 'template':
      return format.contentType;
  }
}
