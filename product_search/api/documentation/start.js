// A file of its own: the page's Content-Security-Policy lets no script run that stands in it.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  validatorUrl: null, // else Swagger UI sends the address of this API to its makers' validator
});
