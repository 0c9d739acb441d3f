/** How a webhook's request is made, beside where it goes. Nouns, and the words that the file has for them. */

export const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE'] as const;
export type Method = (typeof METHODS)[number];

/** What a template can be written as. */
export const TEMPLATE_CONTENT_TYPES = [
  'application/json',
  'application/x-www-form-urlencoded',
] as const;
export type TemplateContentType = (typeof TEMPLATE_CONTENT_TYPES)[number];

/** The word that the file has for a request without a body. */
export const NO_BODY = 'none';

export type ContentType = TemplateContentType | 'application/cloudevents+json; charset=utf-8';

/** What a `{…}` of a template stands for. */
export interface Reference {
  /** One of TOLD_NAMES, or what a pattern captures. */
  readonly name: string;
  /** The way into a value: names of fields and places in lists, outermost first. */
  readonly fields: readonly string[];
}

/** How what a reference stands for is written, so that it cannot leave its place. */
export type Writing =
  /** As a JSON value of its own type. */
  | 'json_value'
  /** Inside a JSON text. */
  | 'json_text'
  /** In a field of a form. */
  | 'form_field';

/** A part of a compiled template: a text that goes out as it is, or what is put in. */
export type TemplatePiece = string | { readonly reference: Reference; readonly writing: Writing };

/** How the bodies of a route's webhooks are made. Made from the file. */
export type BodyFormat =
  | { readonly kind: 'standard' }
  /** Nothing is sent but the headers. */
  | { readonly kind: 'none' }
  /** CloudEvents 1.0, structured mode. */
  | {
      readonly kind: 'cloudevents';
      /** The attribute of that name: a URI reference. */
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
