import java.util.Arrays;
import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One node of OpenSearch from the makers' jars: a folder, the name of the cluster, its own name, ports, then settings as name=value. */
public class OneNode {
    public static void main(String[] given) throws Exception {
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.setMaxHttpPort(65535);
        runner.onBuild((number, settings) -> {
            settings.put("node.name", given[2]);
            settings.put("http.port", given[3]);
            settings.put("transport.port", given[4]);
            settings.put("network.host", "127.0.0.1");
            settings.put("path.repo", given[0] + "/repo");
            for (String setting : Arrays.copyOfRange(given, 5, given.length)) {
                String[] parts = setting.split("=", 2);
                if (parts[1].contains(",")) {
                    settings.putList(parts[0], parts[1].split(","));
                } else {
                    settings.put(parts[0], parts[1]);
                }
            }
        }).build(OpenSearchRunner.newConfigs().clusterName(given[1]).numOfNode(1).basePath(given[0])
            .baseHttpPort(Integer.parseInt(given[3]) - 1).pluginTypes("org.opensearch.knn.plugin.KNNPlugin"));
        Thread.sleep(Long.MAX_VALUE);
    }
}
