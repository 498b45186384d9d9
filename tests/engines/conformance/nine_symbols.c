/* The nine C symbols that NVIDIA's tensorrt_bindings takes from TensorRT's three libraries, returning nothing.
   Compiled once per library, it lets the bindings be imported without TensorRT, to read what names they have. */
void* createInferBuilder_INTERNAL(void) { return 0; }
void* createInferRefitter_INTERNAL(void) { return 0; }
void* createInferRuntime_INTERNAL(void) { return 0; }
void* createNvOnnxParser_INTERNAL(void) { return 0; }
void* createNvOnnxParserRefitter_INTERNAL(void) { return 0; }
void* getBuilderPluginRegistry(void) { return 0; }
void* getPluginRegistry(void) { return 0; }
int getNvOnnxParserVersion(void) { return 110400; }
int initLibNvInferPlugins(void) { return 0; }
